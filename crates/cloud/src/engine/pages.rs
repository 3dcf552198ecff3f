//! Where a list goes on.

use reqwest::Url;
use serde_json::Value;

/// More pages than any list of ours has; a service that names further ones is broken.
pub(super) const MOST_PAGES: usize = 1000;

/// The query of the next page. Keystone has `links.next`, Glance `next`, Nova and Neutron `<field>_links` with
/// `rel: next`. Only the query is taken: behind a proxy the rest of such a link may not be reachable.
pub(super) fn next_page(answer: &Value, field: &str) -> Option<Vec<(String, String)>> {
    let of_nova = || {
        let links = answer.get(format!("{field}_links"))?.as_array()?;
        links.iter().find(|link| link.get("rel").is_some_and(|rel| rel == "next"))?.get("href")
    };
    let next = answer.pointer("/links/next").or_else(|| answer.get("next")).or_else(of_nova)?;
    let base = Url::parse("http://any").ok()?;
    let url = base.join(next.as_str()?).ok()?;
    Some(url.query_pairs().into_owned().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_service_goes_on_in_its_way() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let marker = Some(vec![pair("limit", "2"), pair("marker", "b")]);
        let cases = [
            (json!({"users": [], "links": {"next": "http://k/v3/users?limit=2&marker=b"}}), "users"),
            (json!({"images": [], "next": "/v2/images?limit=2&marker=b"}), "images"),
            (
                json!({"servers": [], "servers_links": [{"rel": "next", "href": "http://n/v2.1/servers?limit=2&marker=b"}]}),
                "servers",
            ),
        ];
        for (answer, field) in cases {
            assert_eq!(next_page(&answer, field), marker);
        }
        let last = json!({"users": [], "links": {"next": null, "self": "http://k/v3/users"}});
        assert_eq!(next_page(&last, "users"), None);
        let previous =
            json!({"servers": [], "servers_links": [{"rel": "previous", "href": "http://n/?a=b"}]});
        assert_eq!(next_page(&previous, "servers"), None);
    }
}
