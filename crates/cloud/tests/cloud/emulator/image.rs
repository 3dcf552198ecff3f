//! Glance.

use oaas_cloud::service::Service;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::{Answer, Ask, Emulator, merge};

fn fault(status: u16, message: &str) -> Answer {
    (
        status,
        Value::String(format!("<html><head><title>{status}</title></head><body>{message}</body></html>")),
    )
}

impl Emulator {
    pub fn image(&mut self, ask: &Ask<'_>) -> Answer {
        let parts: Vec<&str> = ask.path.trim_start_matches("/v2/").split('/').collect();
        match (ask.method, parts.as_slice()) {
            ("GET", ["images"]) => {
                self.list(ask, Service::Image, "images", |image| image["os_hidden"] != true)
            }
            ("GET", ["images", id]) => match self.all("images").iter().find(|image| image["id"] == *id) {
                Some(image) => (200, image.clone()),
                None => fault(404, "No image found"),
            },
            ("POST", ["images"]) => {
                let id = self.fresh("image");
                let mut image = json!({"id": id, "status": "queued", "os_hash_algo": null, "os_hash_value": null, "os_hidden": false,
                    "min_disk": 0, "min_ram": 0, "owner": ask.who.project});
                merge(&mut image, ask.body.as_object().unwrap());
                self.put("images", image.clone());
                (201, image)
            }
            ("PATCH", ["images", id]) => {
                let operations = ask.body.as_array().unwrap().clone();
                self.with("images", id, |image| {
                    for operation in operations {
                        assert_eq!(operation["op"], "add");
                        image[operation["path"].as_str().unwrap().trim_start_matches('/')] =
                            operation["value"].clone();
                    }
                });
                (200, json!({}))
            }
            ("DELETE", ["images", id]) => {
                let before = self.all("images").len();
                self.remove("images", |image| image["id"] == *id);
                self.blobs.remove(*id);
                if before == self.all("images").len() {
                    fault(404, "No image found")
                } else {
                    (204, Value::Null)
                }
            }
            _ => fault(404, "no such resource"),
        }
    }

    /// The bytes of an image have begun to come.
    pub fn saving(&mut self, id: &str) {
        self.with("images", id, |image| image["status"] = json!("saving"));
    }

    /// The bytes of an image have come.
    pub fn stored(&mut self, id: &str, bytes: &[u8]) -> Answer {
        let hash = hex::encode(Sha512::digest(bytes));
        self.blobs.insert(id.to_owned(), bytes.to_vec());
        self.with("images", id, |image| {
            image["status"] = json!("active");
            image["os_hash_algo"] = json!("sha512");
            image["os_hash_value"] = json!(hash);
        });
        self.writes.push(format!("PUT /v2/images/{id}/file"));
        (204, Value::Null)
    }
}
