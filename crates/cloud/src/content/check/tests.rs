use super::*;
use crate::content::demo;

fn problems(change: impl FnOnce(&mut Content)) -> Vec<String> {
    let mut content = demo();
    change(&mut content);
    check(&content).iter().map(ToString::to_string).collect()
}

#[test]
fn names_that_are_not_there_get_the_nearest() {
    assert_eq!(
        problems(|content| content.servers[0].networks = vec!["demo-nt".to_owned()]),
        ["servers[demo-vm].networks: there is no network demo-nt (did you mean demo-net?)"]
    );
    assert_eq!(
        problems(|content| content.servers[0].flavor = "tiny".to_owned())[0],
        "servers[demo-vm].flavor: there is no flavor tiny (there are m1.tiny, m1.small, m1.medium, m1.large, \
         m1.xlarge, m1.jumbo)"
    );
    assert_eq!(
        problems(|content| content.routers[0].interfaces = vec!["demo-net/demo".to_owned()]),
        [
            "routers[demo-router].interfaces[0]: there is no subnet demo-net/demo (did you mean demo-net/demo-subnet?)"
        ]
    );
}

#[test]
fn addresses_are_checked() {
    let subnet = |change: fn(&mut Subnet)| problems(|content| change(&mut content.networks[0].subnets[0]));
    assert!(subnet(|subnet| subnet.cidr = "192.168.100.0/33".to_owned())[0].contains("not a range"));
    assert!(
        subnet(|subnet| subnet.cidr = "192.168.100.1/24".to_owned())[0].contains("write 192.168.100.0/24")
    );
    assert!(
        subnet(|subnet| subnet.gateway = "10.0.0.1".parse().ok())[0]
            .contains("the first address is 192.168.100.1")
    );
    assert!(subnet(|subnet| subnet.pools[0].end = "192.168.101.5".parse().unwrap())[0].contains("outside"));
    assert!(subnet(|subnet| subnet.pools[0].start = "192.168.100.1".parse().unwrap())[0].contains("gateway"));
    assert!(
        subnet(|subnet| subnet.pools[0].start = "192.168.100.250".parse().unwrap())[0]
            .contains("comes after")
    );
    let overlapping = problems(|content| content.networks[1].subnets[0].cidr = "192.168.100.0/25".to_owned());
    assert!(
        overlapping.iter().any(|problem| problem.contains("overlaps ext-net on the same router")),
        "{overlapping:?}"
    );
}

#[test]
fn images_are_checked() {
    let image = |change: fn(&mut Image)| problems(|content| change(&mut content.images[0]));
    assert!(image(|image| image.url = Some("https://h/i".to_owned()))[0].contains("two sources"));
    let from_url = image(|image| {
        image.file = None;
        image.url = Some("ftp://h/i".to_owned());
    });
    assert!(from_url[0].contains("not an http") && from_url[1].contains("needs a checksum"), "{from_url:?}");
    assert!(image(|image| image.checksum = Some("md5:00".to_owned()))[0].contains("only sha256 and sha512"));
    assert!(image(|image| image.checksum = Some("sha256:00".to_owned()))[0].contains("64 digits"));
}

#[test]
fn the_rest_is_checked() {
    assert!(problems(|content| content.role_assignments[0].system = true)[0].contains("2 targets"));
    assert!(problems(|content| content.flavors[1].id = Some("0".to_owned()))[0].contains("the id 0"));
    assert!(problems(|content| content.flavors[1].name = "m1.tiny".to_owned())[0].contains("declared twice"));
    assert!(problems(|content| content.security_groups[0].rules[0].port = Some(1))[0].contains("have ports"));
    assert!(
        problems(|content| content.keypairs[0].public_key = Some("nonsense".to_owned()))[0].contains("SSH")
    );
    assert!(
        problems(|content| content.routers[0].gateway = Some("demo-net".to_owned()))[0]
            .contains("not external")
    );
    assert!(problems(|content| content.projects[0].name = "".into())[0].contains("empty"));
}
