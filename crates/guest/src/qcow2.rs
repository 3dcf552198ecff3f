//! A qcow2 version 3 image of a raw disk: clusters of zeros are left out, the others are stored as they are.
//!
//! Facts: QEMU's `docs/interop/qcow2.txt`. What is stored is compressed already (kernel, initramfs), so compressed clusters
//! would gain nothing and cost time at each read.

/// 64 KiB, QEMU's default.
const CLUSTER_BITS: u32 = 16;
const CLUSTER: usize = 1 << CLUSTER_BITS;
/// The top bit of a table entry: the cluster has a reference count of exactly one.
const COPIED: u64 = 1 << 63;
/// Entries of eight bytes in a cluster-sized table.
const TABLE_ENTRIES: usize = CLUSTER / 8;
/// References of two bytes in a cluster-sized block.
const BLOCK_ENTRIES: usize = CLUSTER / 2;

/// Why a disk cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Convert a raw disk. The layout is header, reference table, one reference block, level 1 table, level 2 tables, data;
/// one reference block covers 2 GiB, which is the largest file it writes.
pub(crate) fn from_raw(raw: &[u8]) -> Result<Vec<u8>, TooLarge> {
    let guest_clusters = raw.len().div_ceil(CLUSTER);
    let level_2_tables = guest_clusters.div_ceil(TABLE_ENTRIES);
    let data: Vec<usize> = (0..guest_clusters).filter(|&n| !is_zero(cluster_of(raw, n))).collect();
    let first_level_2 = 4;
    let first_data = first_level_2 + level_2_tables;
    let clusters = first_data + data.len();
    if clusters > BLOCK_ENTRIES || level_2_tables > TABLE_ENTRIES {
        return Err(TooLarge);
    }

    let mut out = vec![0; clusters * CLUSTER];
    header(&mut out, raw.len(), level_2_tables);
    put_u64(&mut out, CLUSTER, offset(2));
    for cluster in 0..clusters {
        let at = 2 * CLUSTER + cluster * 2;
        out[at..at + 2].copy_from_slice(&1_u16.to_be_bytes());
    }
    for table in 0..level_2_tables {
        put_u64(&mut out, 3 * CLUSTER + table * 8, offset(first_level_2 + table) | COPIED);
    }
    for (slot, &cluster) in data.iter().enumerate() {
        let place = first_data + slot;
        put_u64(&mut out, first_level_2 * CLUSTER + cluster * 8, offset(place) | COPIED);
        let content = cluster_of(raw, cluster);
        out[place * CLUSTER..][..content.len()].copy_from_slice(content);
    }
    Ok(out)
}

fn header(out: &mut [u8], size: usize, level_2_tables: usize) {
    out[..4].copy_from_slice(b"QFI\xfb");
    let narrow: [(usize, u32); 7] = [
        (4, 3), // version
        (20, CLUSTER_BITS),
        (36, u32::try_from(level_2_tables).expect("fits in one cluster")),
        (56, 1),    // clusters of the reference table
        (96, 4),    // reference counts have 2^4 bits
        (100, 104), // length of this header
        (104, 0),   // end of header extensions
    ];
    for (at, value) in narrow {
        out[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    put_u64(out, 24, size as u64);
    put_u64(out, 40, offset(3)); // level 1 table
    put_u64(out, 48, offset(1)); // reference table
}

fn cluster_of(raw: &[u8], number: usize) -> &[u8] {
    &raw[number * CLUSTER..raw.len().min((number + 1) * CLUSTER)]
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

fn offset(cluster: usize) -> u64 {
    (cluster * CLUSTER) as u64
}

fn put_u64(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read a disk back through the tables, as a guest would.
    fn read_back(image: &[u8]) -> Vec<u8> {
        let get = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
        let place = |entry: u64| usize::try_from(entry & !COPIED).unwrap();
        let size = place(get(24));
        let level_1 = place(get(40));
        let mut raw = Vec::new();
        for cluster in 0..size.div_ceil(CLUSTER) {
            let level_2 = place(get(level_1 + cluster / TABLE_ENTRIES * 8));
            match place(get(level_2 + cluster % TABLE_ENTRIES * 8)) {
                0 => raw.resize(raw.len() + CLUSTER, 0),
                at => raw.extend_from_slice(&image[at..at + CLUSTER]),
            }
        }
        raw.truncate(size);
        raw
    }

    #[test]
    fn reads_back_what_went_in() {
        let mut raw = vec![0; 10 * CLUSTER];
        raw[0] = 1;
        raw[3 * CLUSTER + 5] = 2;
        raw[10 * CLUSTER - 1] = 3;
        let image = from_raw(&raw).unwrap();
        assert_eq!(image.len(), (5 + 3) * CLUSTER, "four tables, one level 2 table, three clusters of data");
        assert_eq!(read_back(&image), raw);
    }

    #[test]
    fn a_disk_of_many_level_2_tables_reads_back() {
        // One level 2 table covers 512 MiB; the smallest disk that needs two is one cluster larger.
        let mut raw = vec![0; (TABLE_ENTRIES + 1) * CLUSTER];
        *raw.last_mut().unwrap() = 7;
        let image = from_raw(&raw).unwrap();
        assert_eq!(read_back(&image).last(), Some(&7));
        assert_eq!(image.len(), (4 + 2 + 1) * CLUSTER);
    }

    #[test]
    fn an_odd_end_is_kept() {
        let raw = vec![9; CLUSTER + 512];
        assert_eq!(read_back(&from_raw(&raw).unwrap()), raw);
    }
}
