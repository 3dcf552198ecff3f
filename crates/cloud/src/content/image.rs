//! Images as items. Source: Image API v2 (api-ref of glance): "Images", "Image data".

use std::path::PathBuf;

use serde_json::json;

use super::spec::{Image, Visibility};
use crate::MARKER;
use crate::engine::{
    Absent, CallTemplate, Checksum, Correction, ImageSource, Item, Judge, Key, Kind, Look, Method, Piece,
    Place, Shape, Step, Template, fields,
};
use crate::identity::bare;
use crate::service::Service;

pub(super) fn image_key(name: &str) -> Key {
    Key::new(Kind::Image, [name])
}

/// Parse `sha256:HEX` or `sha512:HEX`.
pub(super) fn checksum(text: &str) -> Result<Checksum, &'static str> {
    let (algorithm, hex) = text.split_once(':').ok_or("it is not ALGORITHM:HEX")?;
    let hex = hex.to_ascii_lowercase();
    if !hex.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("it has more than hexadecimal digits");
    }
    match (algorithm, hex.len()) {
        ("sha256", 64) => Ok(Checksum::Sha256(hex)),
        ("sha512", 128) => Ok(Checksum::Sha512(hex)),
        ("sha256", _) => Err("sha256 has 64 digits"),
        ("sha512", _) => Err("sha512 has 128 digits"),
        _ => Err("only sha256 and sha512 are known"),
    }
}

pub(super) fn image(image: &Image) -> Item {
    let key = image_key(&image.name);
    let call =
        |method, path: Vec<Piece>| CallTemplate { path, ..CallTemplate::new(Service::Image, method, []) };
    let own = |rest: &str| vec![Piece::from("/v2/images/"), Piece::from(&key), Piece::from(rest)];
    let place = match (&image.file, &image.url) {
        (None, Some(url)) => Place::Url(url.clone()),
        (file, _) => Place::File(PathBuf::from(file.as_deref().unwrap_or_default())),
    };
    let source =
        ImageSource { place, checksum: image.checksum.as_deref().and_then(|text| checksum(text).ok()) };

    let visibility = match image.visibility {
        Visibility::Public => "public",
        Visibility::Community => "community",
        Visibility::Shared => "shared",
        Visibility::Private => "private",
    };
    let mut declared = fields([("visibility", visibility.into())]);
    if let Some(gib) = image.min_disk_gib {
        declared.insert("min_disk".to_owned(), gib.into());
    }
    if let Some(mib) = image.min_ram_mib {
        declared.insert("min_ram".to_owned(), mib.into());
    }
    for (name, value) in &image.properties {
        declared.insert(name.clone(), value.as_str().into());
    }
    let mut initial = fields([
        ("name", image.name.as_str().into()),
        ("disk_format", image.disk_format.as_str().into()),
        ("container_format", image.container_format.as_str().into()),
        ("tags", json!([MARKER]).into()),
    ]);
    initial.extend(declared.clone());
    if let Some(checksum) = &source.checksum {
        initial.insert(crate::engine::CHECKSUM_PROPERTY.to_owned(), checksum.to_string().into());
    }
    let create = call(Method::Post, vec!["/v2/images".into()]).body(Shape::Bare, initial);
    let steps = vec![
        Step::Call { call: create, id: Some("/id".to_owned()) },
        Step::Upload {
            call: call(Method::Put, own("/file")),
            source: source.clone(),
            undo: call(Method::Delete, own("")),
        },
    ];
    let look = call(Method::Get, vec!["/v2/images".into()]).query("name", image.name.as_str());
    Item {
        look: Look::List { call: look, field: "images", inner: None },
        // Images of other people may have the same name: ours carry our tag.
        identify: vec![fields([
            ("name", image.name.as_str().into()),
            ("tags", Template::Mentions(MARKER.to_owned())),
        ])],
        declared: vec![Correction {
            fields: declared,
            call: call(Method::Patch, own("")),
            shape: Shape::JsonPatch,
        }],
        absent: Absent::Create(steps),
        judge: Judge::Image(source),
        facts: vec![("id", "/id".into())],
        ..bare(key.clone())
    }
}
