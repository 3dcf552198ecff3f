//! Caches that are damaged, and downloads that are not what was pinned.

use std::collections::BTreeMap;
use std::fs;

use axum::Router;
use axum::http::StatusCode;
use oaas_image::debian::lock::{Lock, Package};
use oaas_image::key::Inputs;
use oaas_image::{Cache, Recipes, archive, recipe};

use crate::program::{Place, Said, alone};
use crate::servers::{serve, silent};

/// A machine whose mirrors of Debian are this server.
fn with_mirror(place: &mut Place, router: Router) -> String {
    let url = format!("http://{}/debian", serve(router));
    place.set("OAAS_DEBIAN_MIRROR", &url);
    place.set("OAAS_DEBIAN_SECURITY_MIRROR", &url);
    url
}

/// A mirror that has nothing.
fn empty() -> Router {
    Router::new().fallback(|| async { StatusCode::NOT_FOUND })
}

fn lock() -> Lock {
    Lock::parse(recipe::file("locks/debian-trixie.lock").unwrap()).unwrap()
}

/// The packages of the layer that every image stands on.
fn packages(lock: &Lock) -> Vec<&Package> {
    lock.set("base").unwrap()
}

fn build(place: &Place) -> Said {
    place.run(&["image", "build", "base"])
}

#[test]
fn an_image_that_there_is_not_is_told_before_anything_is_fetched() {
    let place = Place::new();
    place.run(&["image", "build", "mariab"]).assert(
        2,
        "error: failed to read the image recipes\n  caused by: failed to find an image named \"mariab\"\n\
         hint: did you mean \"mariadb\"? There are: haproxy, libvirt, mariadb, memcached, oaas, openstack-2025.1, openstack-2026.1, openstack-2026.2, ovn, pause, rabbitmq\n",
    );
    assert!(!place.cache().exists());
}

#[test]
fn a_record_that_is_cut_off_says_which_file_to_remove() {
    let place = Place::new();
    fs::create_dir_all(place.cache().join("images")).unwrap();
    let record = place.write("cache/images/built.json", "{\"images\": {");
    let said = place.run(&["image", "list"]);
    let path = record.display();
    said.assert(
        6,
        &format!(
            "error: failed to use the image cache\n  caused by: failed to read {path} in the cache\n  \
             caused by: EOF while parsing an object at line 1 column 12\nhint: remove {path} and build again\n"
        ),
    );
    fs::remove_file(&record).unwrap();
    let said = place.run(&["image", "list"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(said.stdout, "no image was built yet; `oaas image build` builds them\n");
}

#[test]
fn a_corrupt_layer_is_told_and_made_again() {
    let mut place = Place::new();
    let cache = Cache::at(place.cache());
    let (recipes, lock) = (Recipes::embedded().unwrap(), lock());
    let none = BTreeMap::new();
    let given = BTreeMap::new();
    let inputs =
        Inputs { recipes: &recipes, lock: &lock, artefacts: &none, file: &recipe::file, given: &given };
    let key = inputs.chain("base").unwrap().remove(0);
    let file = cache.directory("work").unwrap().join("layer");
    let packed = archive::pack(&[], 0, &file).unwrap();
    let layer = cache.keep("base", &key, &file, &packed, vec![]).unwrap();
    // Whole, it is the image.
    let said = build(&place);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    // Written to, it is made anew, which here ends at the mirror.
    let blob = cache.blob(&layer.digest);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[0] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    with_mirror(&mut place, empty());
    let said = build(&place);
    let told = format!(
        "its file in the cache is corrupt (sha256 {}, wanted {}); it is made anew\n",
        archive::sha256_of(&bytes),
        layer.digest
    );
    assert!(said.stderr.contains(&told), "{}", said.stderr);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(!blob.exists());
}

#[test]
fn a_corrupt_package_is_told_and_fetched_again() {
    let mut place = Place::new();
    with_mirror(&mut place, empty());
    let (lock, cache) = (lock(), Cache::at(place.cache()));
    let package = packages(&lock)[0];
    fs::write(cache.directory("debs").unwrap().join(&package.sha256), "not a package").unwrap();
    let said = build(&place);
    let told = format!(
        "the cached package {} is corrupt (its sha256 is not {}); fetches it again\n",
        package.name, package.sha256
    );
    assert!(said.stderr.contains(&told), "{}", said.stderr);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
}

#[test]
fn a_corrupt_guest_disk_is_told_and_made_again() {
    let mut place = Place::new();
    with_mirror(&mut place, empty());
    let directory = place.cache().join("guest").join(oaas_guest::key());
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("{}.qcow2", oaas_guest::NAME)), "not a disk").unwrap();
    fs::write(directory.join("sha256"), archive::sha256_of(b"a disk")).unwrap();
    let said = place.run(&["image", "build", "oaas"]);
    assert!(said.stderr.contains("images: the cached disk is damaged; builds it again\n"), "{}", said.stderr);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    let error = said.error();
    assert!(error.starts_with("error: failed to fetch the packages of the guest image\n"), "{error}");
    let hint = "\nhint: the mirror has moved on: renew images/guest/packages.lock\n";
    assert!(error.ends_with(hint), "{error}");
}

#[test]
fn a_mirror_that_moved_on_is_told_with_what_to_do() {
    let mut place = Place::new();
    let mirror = with_mirror(&mut place, empty());
    let said = build(&place);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    let error = said.error();
    assert!(error.starts_with("error: failed to fetch the packages of layer base\n  caused by: "), "{error}");
    assert!(error.contains(&format!("the mirror {mirror} no longer has ")), "{error}");
    assert!(error.contains("\nhint: the mirror has moved on: oaas image lock --refresh takes "), "{error}");
}

#[test]
fn a_mirror_that_cannot_be_reached_is_named() {
    let mut place = Place::new();
    let mirror = "http://127.0.0.1:1/debian";
    place.set("OAAS_DEBIAN_MIRROR", mirror);
    place.set("OAAS_DEBIAN_SECURITY_MIRROR", mirror);
    build(&place).assert(
        3,
        "error: failed to fetch the packages of layer base\n  \
         caused by: failed to reach the Debian mirror http://127.0.0.1:1/debian: Unable to connect to 127.0.0.1:1\n\
         hint: look at this machine's network and proxy settings, or name another mirror with OAAS_DEBIAN_MIRROR; the \
         same command goes on\n",
    );
}

#[test]
fn a_package_with_another_hash_is_refused() {
    let mut place = Place::new();
    with_mirror(&mut place, Router::new().fallback(|| async { "something else" }));
    let said = build(&place);
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    let (lock, got) = (lock(), archive::sha256_of(b"something else"));
    let told = |package: &&Package| {
        format!(
            "error: failed to fetch the packages of layer base\n  \
             caused by: failed to verify {}: its sha256 is {got}, the lock wants {}\n\
             hint: the mirror or a proxy hands out another file under this name: try another mirror \
             (OAAS_DEBIAN_MIRROR), or oaas image lock --refresh and read the difference\n",
            package.path, package.sha256
        )
    };
    assert!(packages(&lock).iter().map(told).any(|told| told == said.error()), "{}", said.error());
    assert!(fs::read_dir(place.cache().join("debs")).unwrap().next().is_none(), "it was kept");
}

#[test]
fn a_go_module_with_another_hash_is_refused() {
    let said = alone(|| {
        let mut place = Place::new();
        // Images wait for their mirror meanwhile.
        let (_mirror, address) = silent();
        place.set("OAAS_DEBIAN_MIRROR", format!("http://{address}/debian"));
        place.set("OAAS_DEBIAN_SECURITY_MIRROR", format!("http://{address}/debian"));
        let proxy = serve(Router::new().fallback(|| async { "module something.else\n" }));
        place.set("GOPROXY", format!("http://{proxy}"));
        place.set("GOMODCACHE", place.path("modules").display().to_string());
        place.set("GOFLAGS", "");
        place.run(&["up"])
    });
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    let error = said.error();
    assert!(error.starts_with("error: failed to build runc: "), "{error}");
    assert!(error.contains("checksum mismatch"), "{error}");
    assert!(error.ends_with(
        "\nhint: the module proxy serves other content than was pinned: ask its owner, or use another GOPROXY\n"
    ), "{error}");
}

#[test]
fn a_mirror_that_cannot_be_reached_is_told_when_locks_are_refreshed() {
    let (said, written) = alone(|| {
        let mut place = Place::new();
        // Nobody listens there.
        place.set("OAAS_DEBIAN_MIRROR", "http://127.0.0.1:9/debian");
        place.set("OAAS_DEBIAN_SECURITY_MIRROR", "http://127.0.0.1:9/debian");
        let directory = place.path("locks");
        let said = place.run(&["image", "lock", "--refresh", "--directory", directory.to_str().unwrap()]);
        (said, directory.exists())
    });
    let error = said.error();
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(
        error.starts_with("error: failed to resolve the Debian packages of the images\n"),
        "{}",
        said.stderr
    );
    assert!(error.contains("Could not connect to 127.0.0.1:9"), "{error}");
    assert!(error.contains("\nhint: a package registry could not be reached"), "{error}");
    assert!(!written, "a lock was written");
}
