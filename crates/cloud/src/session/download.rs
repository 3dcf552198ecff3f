//! Bytes of images from elsewhere.

use std::io;
use std::time::Duration;

use futures::stream::StreamExt;
use reqwest::Url;

use super::error::Error;
use super::source::Source;
use super::tls;

/// Open an address. What the machine trusts is trusted, proxies of the environment are used and redirects followed:
/// unlike the cloud, this is the world outside.
pub(super) async fn open(address: &str, stall: Duration) -> Result<Source, Error> {
    let fail = |what: String| Error::Download { url: shown(address), what };
    let client = tls::builder(None)?
        .redirect(reqwest::redirect::Policy::limited(5))
        .connect_timeout(Duration::from_secs(10).min(stall))
        .read_timeout(stall)
        .build()
        .map_err(|error| Error::Configure { what: error.to_string() })?;
    let answer = client.get(address).send().await.map_err(|error| fail(line(error)))?;
    if !answer.status().is_success() {
        return Err(fail(format!("the server answered {}", answer.status())));
    }
    let length = answer.content_length();
    let bytes =
        answer.bytes_stream().map(|chunk| chunk.map_err(|error| io::Error::other(line(error)))).boxed();
    Ok(Source { length, bytes })
}

/// An address without user, password and query, which may hold secrets.
pub(super) fn shown(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "an address that is none".to_owned() };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn line(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut line = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        assert_eq!(shown("https://me:pw@h/i.qcow2?sig=1"), "https://h/i.qcow2");
    }
}
