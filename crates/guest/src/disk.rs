//! The raw disk: GRUB in the master boot record and the gap behind it, and one FAT partition.
//!
//! GRUB's `boot.img` loads the sector after it and `core.img` loads the rest of itself from the sectors behind that, which
//! are the places both are built for (`GRUB_BOOT_MACHINE_*` in GRUB's `include/grub/i386/pc/boot.h`); nothing is patched.

use std::io::{Cursor, Write};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu, ensure};

/// The label by which the guest finds its own disk.
pub(crate) const LABEL: &[u8; 11] = b"OAAS-GUEST ";
/// What makes this disk's file system and partition table known, in place of a random number.
const IDENTITY: u32 = 0x0aa5_0001;

const SECTOR: usize = 512;
const DISK_BYTES: usize = 48 << 20;
/// Where the partition begins: 1 MiB, as everywhere.
const PARTITION_SECTOR: usize = 2048;
/// FAT16, addressed by block number.
const PARTITION_TYPE: u8 = 0x0e;
/// The code of a master boot record ends here, where the disk's identity begins.
const BOOT_CODE: usize = 440;

/// Why the disk cannot be put together.
#[derive(Debug, Snafu)]
pub enum DiskError {
    /// GRUB's first sector is not one.
    #[snafu(display("failed to use GRUB's boot.img: it has {size} bytes, a sector has 512"))]
    BootSector {
        /// Its size in bytes.
        size: usize,
    },
    /// GRUB's core image is too large for its place.
    #[snafu(display("failed to fit GRUB's core image of {size} bytes before the partition"))]
    CoreImage {
        /// Its size in bytes.
        size: usize,
    },
    /// The file system cannot be written.
    #[snafu(display("failed to write {what} of the guest's FAT file system"))]
    Fat {
        /// Which part of it.
        what: &'static str,
        /// What the file system said.
        source: std::io::Error,
    },
}

impl Explain for DiskError {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
}

/// What goes on the disk.
pub(crate) struct Parts<'a> {
    /// GRUB's `boot.img`, one sector.
    pub boot_sector: &'a [u8],
    /// GRUB's core image with its commands in it.
    pub core_image: &'a [u8],
    pub kernel: &'a [u8],
    pub initrd: &'a [u8],
}

/// Put the disk together, in memory.
pub(crate) fn assemble(parts: &Parts) -> Result<Vec<u8>, DiskError> {
    ensure!(parts.boot_sector.len() == SECTOR, BootSectorSnafu { size: parts.boot_sector.len() });
    ensure!(
        parts.core_image.len() <= (PARTITION_SECTOR - 1) * SECTOR,
        CoreImageSnafu { size: parts.core_image.len() }
    );
    let mut disk = vec![0; DISK_BYTES];
    disk[..SECTOR].copy_from_slice(&boot_record(parts.boot_sector));
    disk[SECTOR..][..parts.core_image.len()].copy_from_slice(parts.core_image);
    file_system(&mut disk[PARTITION_SECTOR * SECTOR..], parts)?;
    Ok(disk)
}

/// The boot code with this disk's partition table behind it.
fn boot_record(code: &[u8]) -> [u8; SECTOR] {
    let mut record = [0; SECTOR];
    record[..BOOT_CODE].copy_from_slice(&code[..BOOT_CODE]);
    record[440..444].copy_from_slice(&IDENTITY.to_le_bytes());
    let sectors = DISK_BYTES / SECTOR - PARTITION_SECTOR;
    let entry = &mut record[446..462];
    entry[0] = 0x80; // active
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]); // no cylinders, heads and sectors: see the block numbers
    entry[4] = PARTITION_TYPE;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&u32::try_from(PARTITION_SECTOR).expect("2048").to_le_bytes());
    entry[12..16].copy_from_slice(&u32::try_from(sectors).expect("a small disk").to_le_bytes());
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    record
}

fn file_system(partition: &mut [u8], parts: &Parts) -> Result<(), DiskError> {
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat12)
        .bytes_per_cluster(32768)
        .volume_id(IDENTITY)
        .volume_label(*LABEL);
    fatfs::format_volume(Cursor::new(&mut *partition), options).context(FatSnafu { what: "the frame" })?;
    let options = fatfs::FsOptions::new().time_provider(&Timeless);
    let volume =
        fatfs::FileSystem::new(Cursor::new(partition), options).context(FatSnafu { what: "the root" })?;
    for (name, content) in [("vmlinuz", parts.kernel), ("initrd", parts.initrd)] {
        let mut file = volume.root_dir().create_file(name).context(FatSnafu { what: name })?;
        file.write_all(content).context(FatSnafu { what: name })?;
        file.flush().context(FatSnafu { what: name })?;
    }
    volume.unmount().context(FatSnafu { what: "the end" })
}

/// Gives every file the first moment that FAT knows, so that each build is the same.
#[derive(Debug)]
struct Timeless;

impl fatfs::TimeProvider for Timeless {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        fatfs::DateTime {
            date: self.get_current_date(),
            time: fatfs::Time { hour: 0, min: 0, sec: 0, millis: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn parts() -> Parts<'static> {
        Parts { boot_sector: &[0xcc; 512], core_image: b"core", kernel: b"kernel", initrd: &[7; 10_000] }
    }

    #[test]
    fn the_record_has_code_identity_and_one_active_partition() {
        let disk = assemble(&parts()).unwrap();
        assert!(disk[..440].iter().all(|&b| b == 0xcc));
        assert_eq!(disk[446], 0x80);
        assert_eq!(disk[450], 0x0e);
        assert_eq!(disk[454..458], [0, 8, 0, 0], "begins at sector 2048");
        assert_eq!(u32::from_le_bytes(disk[458..462].try_into().unwrap()), (48 << 11) - 2048);
        assert!(disk[462..510].iter().all(|&b| b == 0), "no other partition");
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        assert_eq!(&disk[512..516], b"core");
    }

    #[test]
    fn the_files_read_back_and_twice_is_the_same() {
        let mut disk = assemble(&parts()).unwrap();
        assert_eq!(disk, assemble(&parts()).unwrap());
        let partition = Cursor::new(&mut disk[2048 * 512..]);
        let volume = fatfs::FileSystem::new(partition, fatfs::FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label_as_bytes(), b"OAAS-GUEST");
        assert_eq!(volume.fat_type(), fatfs::FatType::Fat12);
        let mut content = Vec::new();
        volume.root_dir().open_file("initrd").unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, parts().initrd);
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        let short = Parts { boot_sector: b"short", ..parts() };
        assert!(assemble(&short).unwrap_err().to_string().contains("it has 5 bytes"));
        let large = vec![0; 2048 * 512];
        let large = Parts { core_image: &large, ..parts() };
        assert!(assemble(&large).unwrap_err().to_string().contains("before the partition"));
        let huge = vec![1; DISK_BYTES];
        let huge = Parts { kernel: &huge, ..parts() };
        assert!(assemble(&huge).unwrap_err().to_string().contains("vmlinuz"));
    }
}
