//! Nova.

use oaas_cloud::service::Service;
use serde_json::{Value, json};

use super::{Answer, Ask, Emulator, merge, unwrap};

fn fault(status: u16, name: &str, message: &str) -> Answer {
    (status, json!({ name: {"code": status, "message": message} }))
}

impl Emulator {
    pub fn compute(&mut self, ask: &Ask<'_>) -> Answer {
        let parts: Vec<&str> = ask.path.trim_start_matches("/v2.1/").split('/').collect();
        match (ask.method, parts.as_slice()) {
            ("GET", ["flavors", "detail"]) => self.list(ask, Service::Compute, "flavors", |_| true),
            ("POST", ["flavors"]) => self.create_flavor(ask),
            ("POST", ["flavors", id, "os-extra_specs"]) => {
                let specs = ask.body["extra_specs"].as_object().unwrap().clone();
                self.with("flavors", id, |flavor| merge(&mut flavor["extra_specs"], &specs));
                (200, ask.body.clone())
            }
            ("DELETE", [collection @ ("flavors" | "servers"), id]) => {
                let before = self.all(collection).len();
                self.remove(collection, |object| object["id"] == *id);
                if before == self.all(collection).len() {
                    fault(404, "itemNotFound", "gone")
                } else {
                    (202, Value::Null)
                }
            }
            ("GET", ["os-keypairs"]) => {
                let user = ask
                    .query
                    .iter()
                    .find(|(name, _)| name == "user_id")
                    .map_or(&ask.who.user, |(_, user)| user);
                let own = self.all("keypairs").iter().filter(|pair| pair["user_id"] == *user);
                (200, json!({"keypairs": own.map(|pair| json!({"keypair": pair})).collect::<Vec<_>>()}))
            }
            ("POST", ["os-keypairs"]) => self.create_keypair(ask),
            ("DELETE", ["os-keypairs", name]) => {
                let user = ask
                    .query
                    .iter()
                    .find(|(name, _)| name == "user_id")
                    .map_or(&ask.who.user, |(_, user)| user)
                    .clone();
                self.remove("keypairs", |pair| pair["name"] == *name && pair["user_id"] == user);
                (202, Value::Null)
            }
            ("GET", ["servers", "detail"]) => {
                let project = ask.who.project.clone();
                let all = ask.query.iter().any(|(name, _)| name == "all_tenants");
                self.list(ask, Service::Compute, "servers", move |server| {
                    all || server["tenant_id"].as_str() == project.as_deref()
                })
            }
            ("POST", ["servers"]) => self.create_server(ask),
            ("POST", ["servers", _, "action"]) => (200, json!({"output": "login:"})),
            ("POST", ["servers", id, "remote-consoles"]) => {
                let url = format!("https://console/vnc_auto.html?path=%3Ftoken%3D{id}");
                (200, json!({"remote_console": {"protocol": "vnc", "type": "novnc", "url": url}}))
            }
            ("GET", ["os-services"]) => {
                let state = if self.compute_ready { "up" } else { "down" };
                (
                    200,
                    json!({"services": [{"id": "1", "binary": "nova-compute", "host": "node1", "state": state,
                    "status": "enabled", "disabled_reason": null}]}),
                )
            }
            ("GET", ["os-hypervisors", "detail"]) => (
                200,
                json!({"hypervisors": [{"id": "1", "state": "up", "service": {"host": "node1", "id": "1"}}]}),
            ),
            ("GET", ["os-quota-sets", project]) => {
                let set = self.all("quota_sets").iter().find(|set| set["id"] == *project).cloned();
                (
                    200,
                    json!({"quota_set": set.unwrap_or_else(|| json!({"id": project, "cores": 20, "ram": 51200}))}),
                )
            }
            ("PUT", ["os-quota-sets", project]) => {
                let fields = ask.body["quota_set"].as_object().unwrap().clone();
                let mut set = json!({"id": project, "cores": 20, "ram": 51200});
                merge(&mut set, &fields);
                self.remove("quota_sets", |set| set["id"] == *project);
                self.put("quota_sets", set);
                (200, json!({}))
            }
            _ => fault(404, "itemNotFound", "no such resource"),
        }
    }

    /// Everything that is being built is ready.
    pub fn built(&mut self) {
        let names: Vec<(Value, String)> = (self.all("networks").iter())
            .map(|network| (network["id"].clone(), network["name"].as_str().unwrap_or_default().to_owned()))
            .collect();
        for server in self.objects.get_mut("servers").into_iter().flatten() {
            if server["status"] == "BUILD" {
                server["status"] = json!("ACTIVE");
                for network in server["networks"].as_array().cloned().unwrap_or_default() {
                    let label = &names.iter().find(|(id, _)| *id == network["uuid"]).unwrap().1;
                    server["addresses"][label] = json!([
                        {"addr": "172.16.0.9", "version": 4, "OS-EXT-IPS:type": "fixed"},
                        {"addr": "192.168.100.101", "version": 4, "OS-EXT-IPS:type": "floating"}
                    ]);
                }
            }
        }
    }

    fn create_flavor(&mut self, ask: &Ask<'_>) -> Answer {
        let known = [
            "name",
            "id",
            "ram",
            "vcpus",
            "disk",
            "OS-FLV-EXT-DATA:ephemeral",
            "swap",
            "rxtx_factor",
            "os-flavor-access:is_public",
            "description",
        ];
        let fields = match unwrap(ask, "flavor", &known) {
            Ok(fields) => fields.clone(),
            Err(message) => return fault(400, "badRequest", &message),
        };
        let mut flavor = json!({"OS-FLV-EXT-DATA:ephemeral": 0, "swap": "", "extra_specs": {}});
        merge(&mut flavor, &fields);
        if flavor["swap"] == 0 {
            flavor["swap"] = json!("");
        }
        if flavor.get("id").is_none() {
            flavor["id"] = json!(self.fresh("flavor"));
        }
        if self
            .all("flavors")
            .iter()
            .any(|known| known["name"] == flavor["name"] || known["id"] == flavor["id"])
        {
            return fault(409, "conflictingRequest", "Flavor with this name or id already exists.");
        }
        self.put("flavors", flavor.clone());
        (200, json!({"flavor": flavor}))
    }

    fn create_keypair(&mut self, ask: &Ask<'_>) -> Answer {
        let fields = match unwrap(ask, "keypair", &["name", "type", "public_key", "user_id"]) {
            Ok(fields) => fields.clone(),
            Err(message) => return fault(400, "badRequest", &message),
        };
        let mut pair = json!({"user_id": ask.who.user, "fingerprint": "aa:bb"});
        merge(&mut pair, &fields);
        if self
            .all("keypairs")
            .iter()
            .any(|known| known["name"] == pair["name"] && known["user_id"] == pair["user_id"])
        {
            return fault(409, "conflictingRequest", "Key pair already exists.");
        }
        self.put("keypairs", pair.clone());
        (201, json!({"keypair": pair}))
    }

    fn create_server(&mut self, ask: &Ask<'_>) -> Answer {
        let known = [
            "name",
            "flavorRef",
            "imageRef",
            "key_name",
            "networks",
            "metadata",
            "user_data",
            "security_groups",
            "config_drive",
            "availability_zone",
        ];
        let fields = match unwrap(ask, "server", &known) {
            Ok(fields) => fields.clone(),
            Err(message) => return fault(400, "badRequest", &message),
        };
        let is = |collection: &str, id: &Value| self.all(collection).iter().any(|object| object["id"] == *id);
        let active = self
            .all("images")
            .iter()
            .any(|image| image["id"] == fields["imageRef"] && image["status"] == "active");
        if !is("flavors", &fields["flavorRef"]) || !active {
            return fault(400, "badRequest", "Can not find requested flavor or image");
        }
        if !fields["networks"].as_array().unwrap().iter().all(|network| is("networks", &network["uuid"])) {
            return fault(400, "badRequest", "Network could not be found.");
        }
        if let Some(name) = fields.get("key_name") {
            let own = |pair: &Value| pair["name"] == *name && pair["user_id"] == *ask.who.user;
            if !self.all("keypairs").iter().any(own) {
                return fault(400, "badRequest", "Invalid key_name provided.");
            }
        }
        let id = self.fresh("server");
        let mut server = json!({"id": id, "status": "BUILD", "OS-EXT-STS:task_state": "spawning", "addresses": {},
            "tenant_id": ask.who.project, "user_id": ask.who.user, "OS-EXT-SRV-ATTR:host": null});
        merge(&mut server, &fields);
        if self.compute_ready {
            server["OS-EXT-SRV-ATTR:host"] = json!("node1");
            for network in fields["networks"].as_array().unwrap() {
                let port = json!({"id": self.fresh("port"), "network_id": network["uuid"], "device_id": id,
                    "device_owner": "compute:nova", "project_id": ask.who.project, "binding:host_id": "node1",
                    "fixed_ips": [{"subnet_id": "x", "ip_address": "172.16.0.9"}]});
                self.put("ports", port);
            }
        } else {
            server["status"] = json!("ERROR");
            server["fault"] = json!({"code": 500, "message": "No valid host was found."});
        }
        self.put("servers", server);
        (202, json!({"server": {"id": id, "links": [], "adminPass": "hunter2"}}))
    }
}
