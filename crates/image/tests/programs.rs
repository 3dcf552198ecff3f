//! `images/programs.toml` against the recipes and the lock: what is said to be in an image comes from a package that is.

use std::collections::BTreeSet;
use std::path::Path;

use oaas_image::Recipes;
use oaas_image::debian::lock::Lock;
use oaas_image::recipe::Source;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Programs {
    here: Vec<Here>,
    absent: Vec<Absent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Here {
    image: String,
    program: String,
    package: String,
    r#for: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Absent {
    programs: Vec<String>,
    why: String,
}

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn what_some_requests_want_is_of_a_package_of_its_image() {
    let programs: Programs = toml::from_str(&text("programs.toml")).expect("images/programs.toml");
    let lock = Lock::parse(&text("locks/debian-trixie.lock")).expect("the lock");
    let recipes = Recipes::embedded().expect("the recipes");
    for (image, recipe) in &recipes.images {
        let wanted: Vec<&Here> = programs
            .here
            .iter()
            .filter(|here| *image == here.image || image.starts_with(&format!("{}-", here.image)))
            .collect();
        let (mut packages, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for layer in recipe.layers.iter().filter(|_| !wanted.is_empty()) {
            let Source::Debian { extract, .. } = &layer.source else { continue };
            packages.extend(lock.set(&layer.name).expect("locked").iter().map(|one| one.name.clone()));
            paths.extend(
                extract
                    .iter()
                    .flat_map(|part| part.paths.iter().map(|path| (part.package.clone(), path.clone()))),
            );
        }
        for Here { program, package, r#for: need, .. } in wanted {
            let taken = |(of, path): &(String, String)| of == package && program.starts_with(path.as_str());
            assert!(
                packages.contains(package) || paths.iter().any(taken),
                "{program} of {package} is not in {image}: {need}"
            );
        }
    }
    for image in ["openstack", "libvirt"] {
        assert!(programs.here.iter().any(|here| here.image == image), "{image}");
    }
    for Absent { programs: names, why } in &programs.absent {
        assert!(!why.is_empty());
        for name in names {
            assert!(
                !programs.here.iter().any(|here| here.program == *name && here.image == "openstack"),
                "{name}"
            );
        }
    }
}
