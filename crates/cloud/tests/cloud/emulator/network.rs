//! Neutron.

use oaas_cloud::service::Service;
use serde_json::{Value, json};

use super::{Answer, Ask, Emulator, merge, unwrap};

const COLLECTIONS: [(&str, &str, &[&str]); 6] = [
    (
        "networks",
        "network",
        &[
            "name",
            "project_id",
            "description",
            "shared",
            "router:external",
            "mtu",
            "provider:network_type",
            "provider:physical_network",
            "provider:segmentation_id",
            "admin_state_up",
        ],
    ),
    (
        "subnets",
        "subnet",
        &[
            "name",
            "network_id",
            "project_id",
            "cidr",
            "ip_version",
            "gateway_ip",
            "enable_dhcp",
            "dns_nameservers",
            "allocation_pools",
            "ipv6_ra_mode",
            "ipv6_address_mode",
            "description",
        ],
    ),
    ("routers", "router", &["name", "project_id", "external_gateway_info", "description"]),
    ("security-groups", "security_group", &["name", "project_id", "description"]),
    (
        "security-group-rules",
        "security_group_rule",
        &[
            "security_group_id",
            "project_id",
            "direction",
            "ethertype",
            "protocol",
            "port_range_min",
            "port_range_max",
            "remote_ip_prefix",
            "remote_group_id",
            "description",
        ],
    ),
    ("floatingips", "floatingip", &["floating_network_id", "port_id", "project_id", "description"]),
];

fn fault(status: u16, kind: &str, message: &str) -> Answer {
    (status, json!({"NeutronError": {"type": kind, "message": message, "detail": ""}}))
}

impl Emulator {
    pub fn network(&mut self, ask: &Ask<'_>) -> Answer {
        if !ask.who.admin {
            return fault(403, "PolicyNotAuthorized", "disallowed by policy");
        }
        let parts: Vec<&str> = ask.path.trim_start_matches("/v2.0/").split('/').collect();
        match (ask.method, parts.as_slice()) {
            ("GET", ["agents"]) => {
                return (
                    200,
                    json!({"agents": [{"agent_type": "OVN Controller Gateway agent", "host": "node1",
                    "alive": self.compute_ready, "binary": "ovn-controller"}]}),
                );
            }
            ("GET", ["ports"]) => return self.list(ask, Service::Network, "ports", |_| true),
            ("PUT", ["routers", id, "add_router_interface"]) => {
                return self.add_interface(id, &ask.body["subnet_id"]);
            }
            ("GET", ["quotas", _]) => return (200, json!({"quota": {"network": 100, "subnet": 100}})),
            _ => {}
        }
        let Some((collection, singular, known)) =
            COLLECTIONS.iter().find(|(collection, ..)| *collection == parts[0])
        else {
            return fault(404, "HTTPNotFound", "no such resource");
        };
        match (ask.method, parts.as_slice()) {
            ("GET", [_]) => {
                if *collection == "security-groups"
                    && let Some((_, project)) = ask.query.iter().find(|(name, _)| name == "project_id")
                {
                    self.default_group(project);
                }
                self.list(ask, Service::Network, collection, |_| true)
            }
            ("POST", [_]) => match unwrap(ask, singular, known) {
                Err(message) => fault(400, "HTTPBadRequest", &message),
                Ok(fields) => self.create_network_thing(collection, singular, fields),
            },
            ("DELETE", [_, id]) => {
                self.remove(collection, |object| object["id"] == *id);
                (204, Value::Null)
            }
            ("PUT", [_, id]) => match unwrap(ask, singular, known) {
                Err(message) => fault(400, "HTTPBadRequest", &message),
                Ok(fields) => {
                    let fields = fields.clone();
                    self.with(collection, id, |object| merge(object, &fields));
                    (200, json!({}))
                }
            },
            _ => fault(405, "HTTPMethodNotAllowed", "no such method"),
        }
    }

    fn default_group(&mut self, project: &str) {
        let own = |group: &Value| group["name"] == "default" && group["project_id"] == *project;
        if !self.all("security-groups").iter().any(own) {
            let id = self.fresh("sg");
            self.put("security-groups", json!({"id": id, "name": "default", "project_id": project, "description": "Default security group"}));
        }
    }

    fn add_interface(&mut self, router: &str, subnet: &Value) -> Answer {
        let leg =
            |port: &&Value| port["device_id"] == *router && port["fixed_ips"][0]["subnet_id"] == *subnet;
        if self.all("ports").iter().any(|port| leg(&port)) {
            return fault(400, "BadRequest", "Bad router request: Router already has a port on subnet");
        }
        if !self.all("subnets").iter().any(|known| known["id"] == *subnet) {
            return fault(404, "SubnetNotFound", "Subnet could not be found.");
        }
        let id = self.fresh("port");
        self.put(
            "ports",
            json!({"id": id, "device_id": router, "device_owner": "network:router_interface",
            "fixed_ips": [{"subnet_id": subnet, "ip_address": "172.16.0.1"}]}),
        );
        (200, json!({"id": router, "port_id": id, "subnet_id": subnet}))
    }

    fn create_network_thing(
        &mut self,
        collection: &str,
        singular: &str,
        fields: &serde_json::Map<String, Value>,
    ) -> Answer {
        let id = self.fresh(singular);
        let mut object = json!({ "id": id });
        match collection {
            "networks" => {
                let flat = |network: &Value| {
                    network["provider:network_type"] == "flat"
                        && Some(&network["provider:physical_network"])
                            == fields.get("provider:physical_network")
                };
                if fields.get("provider:network_type") == Some(&json!("flat"))
                    && self.all(collection).iter().any(flat)
                {
                    return fault(409, "FlatNetworkInUse", "Unable to create the flat network.");
                }
                object = json!({"id": id, "shared": false, "router:external": false, "mtu": 1442,
                    "provider:network_type": "geneve", "provider:physical_network": null});
            }
            "subnets" => {
                let same = |subnet: &Value| {
                    Some(&subnet["cidr"]) == fields.get("cidr")
                        && Some(&subnet["network_id"]) == fields.get("network_id")
                };
                if self.all(collection).iter().any(same) {
                    return fault(400, "InvalidInput", "overlaps with another subnet");
                }
                object = json!({"id": id, "dns_nameservers": [], "allocation_pools": [{"start": "a", "end": "b"}]});
            }
            "security-group-rules" => {
                let part = |object: &Value, name: &str| match object.get(name).unwrap_or(&Value::Null) {
                    Value::String(any) if any == "0.0.0.0/0" => Value::Null,
                    other => other.clone(),
                };
                let wanted = Value::Object(fields.clone());
                let same = |rule: &Value| {
                    [
                        "security_group_id",
                        "direction",
                        "ethertype",
                        "protocol",
                        "port_range_min",
                        "port_range_max",
                        "remote_ip_prefix",
                    ]
                    .iter()
                    .all(|name| part(rule, name) == part(&wanted, name))
                };
                if self.all(collection).iter().any(same) {
                    return fault(409, "SecurityGroupRuleExists", "Security group rule already exists.");
                }
                object = json!({"id": id, "protocol": null, "port_range_min": null, "port_range_max": null,
                    "remote_ip_prefix": null, "remote_group_id": null});
            }
            "floatingips" => {
                let counter = id.trim_start_matches("floatingip-").trim_start_matches('0').to_owned();
                object = json!({"id": id, "floating_ip_address": format!("192.168.100.{counter}"), "port_id": null});
            }
            _ => {}
        }
        merge(&mut object, fields);
        if collection == "networks"
            && let Some(project) = fields.get("project_id").and_then(Value::as_str)
        {
            self.default_group(project);
        }
        self.put(collection, object.clone());
        (201, json!({ singular: object }))
    }
}
