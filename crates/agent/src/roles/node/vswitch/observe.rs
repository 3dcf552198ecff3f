//! What a node has: interfaces, addresses, routes, and what its kernel can.

use std::collections::BTreeMap;

use serde::Deserialize;
use snafu::ResultExt as _;

use super::super::error::{Error, ParseSnafu};
use super::super::system;
use super::plan::Link;

#[derive(Debug, Deserialize)]
struct IpLink {
    ifname: String,
    mtu: u32,
    #[serde(default)]
    addr_info: Vec<IpAddress>,
}

#[derive(Debug, Deserialize)]
struct IpAddress {
    local: String,
    prefixlen: u8,
    scope: String,
}

#[derive(Debug, Deserialize)]
struct IpRoute {
    dst: String,
    dev: Option<String>,
    gateway: Option<String>,
    metric: Option<u32>,
    protocol: Option<String>,
}

/// All interfaces of the node.
pub async fn links() -> Result<BTreeMap<String, Link>, Error> {
    let addresses = system::run(["ip", "-json", "address", "show"]).await?;
    let mut routes = system::run(["ip", "-json", "-4", "route", "show"]).await?;
    let mut found = read_links(&addresses, &routes)?;
    routes = system::run(["ip", "-json", "-6", "route", "show"]).await?;
    for (name, link) in read_links(&addresses, &routes)? {
        if let Some(known) = found.get_mut(&name) {
            known.routes.extend(link.routes);
        }
    }
    Ok(found)
}

fn read_links(addresses: &str, routes: &str) -> Result<BTreeMap<String, Link>, Error> {
    let parse = |what: &str| ParseSnafu { what: format!("the output of {what}") };
    let links: Vec<IpLink> = serde_json::from_str(addresses).with_context(|_| parse("ip address"))?;
    // Without any route some versions print nothing at all.
    let routes: Vec<IpRoute> = match routes.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text).with_context(|_| parse("ip route"))?,
    };
    let mut found: BTreeMap<String, Link> = BTreeMap::new();
    for link in links {
        let global = link.addr_info.iter().filter(|address| address.scope == "global");
        let addresses = global.map(|address| format!("{}/{}", address.local, address.prefixlen)).collect();
        // The other end of a pair in another namespace stands behind `@` in text only.
        found.insert(link.ifname, Link { mtu: link.mtu, addresses, routes: Vec::new() });
    }
    for route in routes {
        // The kernel's own come and go with the addresses.
        let Some(link) = route.dev.as_ref().and_then(|name| found.get_mut(name)) else { continue };
        if route.protocol.as_deref() == Some("kernel") {
            continue;
        }
        let mut text = route.dst;
        if let Some(gateway) = route.gateway {
            text.push_str(" via ");
            text.push_str(&gateway);
        }
        if let Some(metric) = route.metric {
            text.push_str(" metric ");
            text.push_str(&metric.to_string());
        }
        link.routes.push(text);
    }
    Ok(found)
}

/// Why the kernel cannot be the datapath; nothing if it can. Loads its modules where they are at hand.
pub async fn kernel_lacks() -> Result<Option<String>, Error> {
    for module in ["openvswitch", "geneve"] {
        // Fails where there are no modules, or where they are built in: what counts is asked below.
        let _ = system::succeeds(["modprobe", "-q", module]).await;
    }
    if !system::succeeds(["ovs-dpctl", "dump-dps"]).await? {
        return Ok(Some("the kernel has no module openvswitch".to_owned()));
    }
    // In a network namespace of its own, so that nothing of the node is touched.
    let geneve =
        ["unshare", "--net", "ip", "link", "add", "g", "type", "geneve", "id", "1", "remote", "192.0.2.1"];
    if !system::succeeds(geneve).await? {
        return Ok(Some("the kernel has no module geneve".to_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ip_prints() {
        let addresses = r#"[{"ifname":"lo","mtu":65536,"addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
            {"ifname":"eth1","link_index":4,"mtu":1600,"addr_info":[{"family":"inet","local":"10.86.0.11","prefixlen":24,"scope":"global"},
            {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]}]"#;
        let routes = r#"[{"dst":"default","gateway":"10.86.0.1","dev":"eth1","flags":[],"metric":100},
            {"dst":"10.86.0.0/24","dev":"eth1","protocol":"kernel","scope":"link","prefsrc":"10.86.0.11","flags":[]}]"#;
        let links = read_links(addresses, routes).unwrap();
        let eth1 = &links["eth1"];
        assert_eq!((eth1.mtu, eth1.addresses.as_slice()), (1600, &["10.86.0.11/24".to_owned()][..]));
        assert_eq!(eth1.routes, ["default via 10.86.0.1 metric 100"]);
        assert!(links["lo"].addresses.is_empty());
        assert!(read_links(addresses, "").unwrap()["eth1"].routes.is_empty());
    }
}
