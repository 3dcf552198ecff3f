//! Kernel modules: which others each needs, and the tables by which `modprobe` finds them.
//!
//! A module names what it needs in its section `.modinfo`, a list of `key=value` strings that end with a zero byte
//! (the kernel's `include/linux/module.h`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use oaas_feedback::{Explain, Kind};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::deb::Package;

/// Why the modules cannot be had.
#[derive(Debug, Snafu)]
pub enum ModulesError {
    /// The kernel's package has no such module.
    #[snafu(display("failed to find the kernel module {name} in the kernel's package"))]
    Unknown {
        /// The module's name.
        name: String,
    },
    /// A compressed module does not decompress.
    #[snafu(display("failed to decompress the kernel module {name}: {said}"))]
    Decompress {
        /// The module's name.
        name: String,
        /// What the decompressor said.
        said: String,
    },
    /// A package has no modules at all.
    #[snafu(display("failed to find kernel modules below usr/lib/modules in the kernel's package"))]
    None,
    /// A module's list of what it needs cannot be read.
    #[snafu(display("failed to read what the kernel module {name} says of itself"))]
    Text {
        /// The module's name.
        name: String,
        /// Where it is not text.
        source: std::str::Utf8Error,
    },
}

impl Explain for ModulesError {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
}

/// Modules that are needed, decompressed, by name with underscores.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The kernel's version, such as `6.12.107+deb13-cloud-amd64`.
    pub version: String,
    /// Content by name.
    pub modules: BTreeMap<String, Module>,
}

/// One module.
#[derive(Debug)]
pub(crate) struct Module {
    /// The ELF file.
    pub content: Vec<u8>,
    /// The modules that it needs, by name.
    needs: Vec<String>,
    /// The names that the kernel asks for it by, such as `fs-ext4`.
    aliases: Vec<String>,
}

/// Take the named modules and all they need out of the kernel's package.
pub(crate) fn collect<'a>(
    kernel: &Package,
    wanted: impl Iterator<Item = &'a str>,
) -> Result<Modules, ModulesError> {
    let packed: BTreeMap<String, &[u8]> =
        kernel.all("usr/lib/modules/", ".ko.xz").map(|(path, content)| (name_of(path), content)).collect();
    let version = kernel
        .all("usr/lib/modules/", ".ko.xz")
        .find_map(|(path, _)| path.split('/').nth(3))
        .context(NoneSnafu)?
        .to_owned();
    let mut modules = BTreeMap::new();
    let mut queue: Vec<String> = wanted.map(str::to_owned).collect();
    while let Some(name) = queue.pop() {
        if modules.contains_key(&name) {
            continue;
        }
        let packed = packed.get(&name).context(UnknownSnafu { name: name.as_str() })?;
        let module = unpack(&name, packed)?;
        queue.extend(module.needs.iter().cloned());
        modules.insert(name, module);
    }
    Ok(Modules { version, modules })
}

impl Modules {
    /// The table `modules.dep`: each module's file and those it needs, directly or not, the last to be loaded first.
    pub(crate) fn dependencies(&self) -> String {
        let mut table = String::new();
        for name in self.modules.keys() {
            let mut needed = Vec::new();
            self.closure(name, &mut needed);
            let files: String = needed.iter().fold(String::new(), |all, need| all + " " + need + ".ko");
            writeln!(table, "{name}.ko:{files}").expect("a string takes all");
        }
        table
    }

    /// The table `modules.alias`.
    pub(crate) fn aliases(&self) -> String {
        let mut table = String::new();
        for (name, module) in &self.modules {
            for alias in &module.aliases {
                writeln!(table, "alias {alias} {name}").expect("a string takes all");
            }
        }
        table
    }

    fn closure<'a>(&'a self, name: &str, needed: &mut Vec<&'a str>) {
        for need in self.modules.get(name).into_iter().flat_map(|module| &module.needs) {
            // Again at the end when it is there already: whatever needs it must come before it.
            needed.retain(|&other| other != need);
            needed.push(need);
            self.closure(need, needed);
        }
    }
}

fn unpack(name: &str, mut packed: &[u8]) -> Result<Module, ModulesError> {
    let mut content = Vec::new();
    if let Err(error) = lzma_rs::xz_decompress(&mut packed, &mut content) {
        return DecompressSnafu { name, said: error.to_string() }.fail();
    }
    strip_signature(&mut content);
    let mut needs = Vec::new();
    let mut aliases = Vec::new();
    for value in info(&content, "depends") {
        let value = std::str::from_utf8(value).context(TextSnafu { name })?;
        needs.extend(value.split(',').filter(|need| !need.is_empty()).map(|need| need.replace('-', "_")));
    }
    for value in info(&content, "alias") {
        aliases.push(std::str::from_utf8(value).context(TextSnafu { name })?.to_owned());
    }
    Ok(Module { content, needs, aliases })
}

/// Cut the signature off a module (the kernel's `include/linux/module_signature.h`: signature, twelve bytes that end with its
/// length, a marker). Debian's kernel takes modules without one, and under emulation checking nine signatures takes as
/// long as everything else from the first process to the login prompt; their packages were checked by hash.
fn strip_signature(module: &mut Vec<u8>) {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    const FRAME: usize = 12;
    let Some(framed) = module.strip_suffix(MARKER) else { return };
    let Some((signed, length)) = framed.split_last_chunk::<4>() else { return };
    let length = u32::from_be_bytes(*length) as usize;
    if let Some(end) = (signed.len() + 4).checked_sub(FRAME + length) {
        module.truncate(end);
    }
}

/// The values of one key in a module's own description.
fn info<'a>(module: &'a [u8], key: &'a str) -> impl Iterator<Item = &'a [u8]> {
    module
        .split(|&byte| byte == 0)
        .filter_map(move |text| text.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")))
}

/// `…/virtio-rng.ko.xz` is the module `virtio_rng`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.trim_end_matches(".ko.xz").replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(needs: &[&str], aliases: &[&str]) -> Module {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Module { content: Vec::new(), needs: own(needs), aliases: own(aliases) }
    }

    #[test]
    fn what_is_needed_by_others_is_loaded_before_them() {
        let modules = BTreeMap::from([
            ("a".to_owned(), module(&["c", "b"], &[])),
            ("b".to_owned(), module(&["c"], &["fs-b"])),
            ("c".to_owned(), module(&[], &[])),
        ]);
        let modules = Modules { version: "6".into(), modules };
        // modprobe loads from the end: c, then b, then a.
        assert_eq!(modules.dependencies(), "a.ko: b.ko c.ko\nb.ko: c.ko\nc.ko:\n");
        assert_eq!(modules.aliases(), "alias fs-b b\n");
    }

    #[test]
    fn the_description_is_read_by_key() {
        let content = b"\x7fELF\0license=GPL\0depends=net-failover,x\0alias=fs-x\0xdepends=no\0";
        let values: Vec<_> = info(content, "depends").collect();
        assert_eq!(values, [b"net-failover,x"]);
    }

    #[test]
    fn a_signature_is_cut_off_and_nothing_else() {
        let mut signed = b"ELF...sig".to_vec();
        signed.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        signed.extend_from_slice(b"~Module signature appended~\n");
        strip_signature(&mut signed);
        assert_eq!(signed, b"ELF...");
        strip_signature(&mut signed);
        assert_eq!(signed, b"ELF...", "there is none left");
        let mut wrong = b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff~Module signature appended~\n".to_vec();
        let before = wrong.clone();
        strip_signature(&mut wrong);
        assert_eq!(wrong, before, "a length that cannot be is left alone");
    }

    #[test]
    fn names_have_underscores() {
        assert_eq!(name_of("usr/lib/modules/6/kernel/drivers/char/hw_random/virtio-rng.ko.xz"), "virtio_rng");
    }

    #[test]
    fn a_package_without_modules_says_so() {
        let error = collect(&Package::default(), ["x"].into_iter()).unwrap_err();
        assert!(error.to_string().contains("usr/lib/modules"));
    }
}
