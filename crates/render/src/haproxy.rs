//! The public endpoint's configuration, for haproxy 3.
//!
//! One listener with one certificate, a path prefix per API. The prefix is cut off and told to the service in
//! `X-Forwarded-Prefix`, from which oslo.middleware's `http_proxy_to_wsgi` builds the links in its answers. Back ends are
//! found by name and spoken to by TLS, their certificates checked against the cloud's authority.

use std::fmt::Write as _;

use oaas_plan::PublicEndpointModel;

pub(crate) fn write(model: &PublicEndpointModel) -> String {
    let mut text = String::new();
    let PublicEndpointModel {
        port,
        statistics_port,
        statistics_user,
        statistics_password,
        certificate,
        authority,
        host,
        routes,
    } = model;
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "\
global
    log stdout format raw local0 notice
    maxconn 2000
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    log global
    option httplog
    option dontlog-normal
    option redispatch
    retries 3
    retry-on conn-failure empty-response 503
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-request 20s
    timeout http-keep-alive 15s

resolvers cluster
    parse-resolv-conf
    resolve_retries 3
    timeout resolve 1s
    timeout retry 1s
    hold valid 5s

frontend public
    bind :::{port} v4v6 ssl crt {certificate} alpn http/1.1
    http-request return status 200 content-type text/plain string ok if {{ path /healthz }}
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host {host}
"
    );
    for route in routes {
        let (name, path) = (&route.name, &route.path);
        let _ = writeln!(text, "    use_backend {name} if {{ path {path} }} or {{ path_beg {path}/ }}");
    }
    for route in routes {
        let (name, path, host, port) = (&route.name, &route.path, &route.host, route.port);
        let _ = write!(
            text,
            "
backend {name}
    http-request set-header X-Forwarded-Prefix {path}
    http-request replace-path {path}(/)?(.*) /\\2
    server {name} {host}:{port} resolvers cluster init-addr last,libc,none ssl verify required ca-file {authority} verifyhost {host} sni str({host})
"
        );
    }
    let _ = write!(
        text,
        "
frontend statistics
    bind :::{statistics_port} v4v6 ssl crt {certificate} alpn http/1.1
    stats enable
    stats uri /
    stats refresh 5s
    stats realm OpenStack
    stats auth {statistics_user}:{statistics_password}
"
    );
    text
}
