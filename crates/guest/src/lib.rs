//! The demo guest: a tiny virtual machine image from Debian packages that boots in seconds under emulation.
//!
//! The recipe is data in `images/guest` (packages by hash, files, kernel modules, our scripts, GRUB's commands) and is
//! compiled in. [`build`] turns it and the packages into a qcow2 file; what the guest does is told in that directory's
//! README.
//!
//! # Flow
//! packages → initramfs (cpio, the whole system) ─┐
//! packages → GRUB's core image ──────────────────┼→ raw disk (MBR, FAT) → qcow2
//! packages → kernel ─────────────────────────────┘
//!
//! # Guarantees
//! - No network, no root, no mounts, no loop devices; programs that run at build (GRUB's, `BusyBox`'s) come from the locked
//!   packages with the C library they were built for. Only `dpkg-deb` is the host's.
//! - The same packages give the same bytes.
//! - The output appears under its name only when it is complete.
//!
//! # Assumptions
//! The host runs x86-64 Linux programs.

mod build;
mod cpio;
mod deb;
mod disk;
mod initramfs;
mod lock;
mod modules;
mod qcow2;
mod recipe;
mod tool;

pub use build::{BuildError, Built, GuestInputs, build};
pub use lock::{LockedPackage, locked_packages};
pub use recipe::key;

/// The name of the image file and of the image in Glance.
pub const NAME: &str = "oaas-guest";

/// The user that takes the keypair's key over SSH; `root` takes it too.
pub const LOGIN_USER: &str = "oaas";

/// The least memory of a flavor for it, in MiB.
pub const MIN_RAM_MIB: u32 = 192;

/// The least disk of a flavor for it, in GiB.
pub const MIN_DISK_GIB: u32 = 1;

/// Properties of the image in Glance: what the guest has drivers for, and no others, so that it boots fast.
/// Names and values are those of Glance's useful image properties.
pub const IMAGE_PROPERTIES: &[(&str, &str)] = &[
    ("architecture", "x86_64"),
    ("hw_disk_bus", "virtio"),
    ("hw_firmware_type", "bios"),
    ("hw_rng_model", "virtio"),
    ("hw_vif_model", "virtio"),
    ("hw_video_model", "vga"),
    ("os_distro", "debian"),
    ("os_type", "linux"),
];
