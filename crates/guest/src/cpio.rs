//! The initramfs archive: cpio in the format `newc`, as the kernel's `initramfs-buffer-format` document has it.

use std::collections::BTreeMap;

/// What one entry of the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory.
    Directory,
    /// A regular file.
    File { content: Vec<u8>, mode: Mode },
    /// A symbolic link.
    Link(String),
    /// A character device by its numbers.
    Device { major: u32, minor: u32 },
}

/// What may be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Read by all.
    Data,
    /// Executed by all.
    Program,
    /// Executed by all, as root.
    AsRoot,
}

/// Entries by path without a leading slash. A parent sorts before what is in it, as the kernel needs.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Put a node at a path and the directories above it, where they are missing.
pub(crate) fn insert(tree: &mut Tree, path: &str, node: Node) {
    for (end, _) in path.match_indices('/') {
        tree.entry(path[..end].to_owned()).or_insert(Node::Directory);
    }
    tree.insert(path.to_owned(), node);
}

/// Write the archive. Everything belongs to root and has the time 0.
pub(crate) fn archive(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    for (inode, (path, node)) in (1_u32..).zip(tree) {
        let (mode, content, device): (u32, &[u8], (u32, u32)) = match node {
            Node::Directory => (0o040_755, &[], (0, 0)),
            Node::File { content, mode: Mode::Data } => (0o100_644, content, (0, 0)),
            Node::File { content, mode: Mode::Program } => (0o100_755, content, (0, 0)),
            Node::File { content, mode: Mode::AsRoot } => (0o104_755, content, (0, 0)),
            Node::Link(target) => (0o120_777, target.as_bytes(), (0, 0)),
            Node::Device { major, minor } => (0o020_600, &[], (*major, *minor)),
        };
        entry(&mut out, path, inode, mode, content, device);
    }
    entry(&mut out, "TRAILER!!!", 0, 0, &[], (0, 0));
    out
}

fn entry(out: &mut Vec<u8>, path: &str, inode: u32, mode: u32, content: &[u8], device: (u32, u32)) {
    let size = u32::try_from(content.len()).expect("a file of the guest is far below 4 GiB");
    let name_size = u32::try_from(path.len() + 1).expect("a path is far below 4 GiB");
    out.extend_from_slice(b"070701");
    // inode, mode, uid, gid, links, mtime, size, device of the file system (2), device (2), name size, checksum
    for field in [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0] {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(content);
    pad(out);
}

/// Names and contents end at a multiple of four bytes.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_only_once() {
        let mut tree = Tree::new();
        insert(&mut tree, "etc/oaas/boot", Node::File { content: b"#!".to_vec(), mode: Mode::Program });
        insert(&mut tree, "etc/passwd", Node::File { content: Vec::new(), mode: Mode::Data });
        let paths: Vec<_> = tree.keys().map(String::as_str).collect();
        assert_eq!(paths, ["etc", "etc/oaas", "etc/oaas/boot", "etc/passwd"]);
    }

    #[test]
    fn a_file_is_written_as_the_format_says() {
        let mut tree = Tree::new();
        insert(&mut tree, "hi", Node::File { content: b"12345".to_vec(), mode: Mode::Data });
        let bytes = archive(&tree);
        let header = "07070100000001000081a400000000000000000000000100000000000000050000000000000000\
                      00000000000000000000000300000000";
        assert_eq!(std::str::from_utf8(&bytes[..110]).unwrap(), header);
        // 110 bytes of header and 3 of name are 113, filled up to 116; 5 bytes of content are filled up to 8.
        assert_eq!(&bytes[110..124], b"hi\0\0\0\x0012345\0\0\0");
        assert!(bytes[124..].starts_with(b"070701"));
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }

    #[test]
    fn devices_and_links_carry_their_kind() {
        let mut tree = Tree::new();
        insert(&mut tree, "console", Node::Device { major: 5, minor: 1 });
        insert(&mut tree, "init", Node::Link("bin/busybox".into()));
        let text = String::from_utf8(archive(&tree)).unwrap();
        assert!(text.contains("00002180"), "character device, mode 600");
        assert!(text.contains("0000a1ff"), "symbolic link");
        assert!(text.contains("bin/busybox"));
    }
}
