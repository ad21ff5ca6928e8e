//! Where mail may go, and what a relay's URL may be.

use super::{Carried, Carrier, DnsError, Found, MxLookup, Relay, RelayError, Route};
use crate::net::guard::Allowed;
use crate::vault::Secret;
use async_trait::async_trait;
use std::sync::Arc;

#[derive(Debug)]
struct Answers(Result<Vec<Found>, DnsError>);

#[async_trait]
impl MxLookup for Answers {
    async fn servers(&self, _domain: &str) -> Result<Vec<Found>, DnsError> {
        self.0.clone()
    }
}

async fn carry(answer: Result<Vec<Found>, DnsError>, allowed: Allowed, port: u16) -> Carried {
    let route = Route::Direct { lookup: Arc::new(Answers(answer)), allowed, port };
    let carrier = Carrier { hello: "mx.test".to_owned(), route };
    let (from, to) = ("a@here.test".parse().unwrap(), "b@there.test".parse().unwrap());
    carrier.carry(Some(&from), &to, b"From: a@here.test\r\n\r\nx\r\n").await
}

fn found(host: &str, address: &str) -> Found {
    Found { host: host.to_owned(), addresses: vec![address.parse().unwrap()] }
}

#[tokio::test]
async fn tenants_cannot_send_into_the_servers_own_network() {
    for own in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"] {
        let carried = carry(Ok(vec![found("mx.there.test", own)]), Allowed::default(), 25).await;
        let Carried::Never(report) = carried else { panic!("{own}: {carried:?}") };
        assert_eq!(report.reason.as_deref(), Some("not-public"), "{own}");
    }
    // Allowed by name: it is tried, and nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let allowed = Allowed::new(["mx.there.test".to_owned()]);
    let carried = carry(Ok(vec![found("mx.there.test", "127.0.0.1")]), allowed, port).await;
    let Carried::Later(report) = carried else { panic!("{carried:?}") };
    assert_eq!(report.reason.as_deref(), Some("unreachable"));
    assert_eq!(report.mx_host.as_deref(), Some("mx.there.test"));
}

#[tokio::test]
async fn a_server_that_talks_for_ever_is_hung_up_on() {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (line, mut bytes) = (vec![b'x'; 64 * 1024], 0);
        while bytes < 64 * 1024 * 1024 && stream.write_all(&line).await.is_ok() {
            bytes += line.len();
        }
        bytes
    });
    let allowed = Allowed::new(["mx.there.test".to_owned()]);
    let carried = carry(Ok(vec![found("mx.there.test", "127.0.0.1")]), allowed, port).await;
    assert!(matches!(carried, Carried::Later(_)), "{carried:?}");
    assert!(said.await.unwrap() < 16 * 1024 * 1024, "what the sockets hold, and no more");
}

#[tokio::test]
async fn what_dns_says_decides_between_never_and_later() {
    let ask = |error| carry(Err(error), Allowed::default(), 25);
    let code = |carried: Carried| match carried {
        Carried::Never(report) | Carried::Later(report) => report.enhanced_smtp_code.unwrap(),
        Carried::Delivered(report) => panic!("{report:?}"),
    };
    assert_eq!(code(ask(DnsError::NoDomain("no".into())).await), "5.1.2");
    assert_eq!(code(ask(DnsError::NoMail("no".into())).await), "5.1.10");
    assert_eq!(code(ask(DnsError::Later("no".into())).await), "4.4.3");
}

#[test]
fn a_relay_is_a_url_without_a_password() {
    let password = || Some(Secret::from("word".to_owned()));
    for good in
        ["smtp://mail.test", "smtp://mail.test:2525", "smtps://me%40x.test@mail.test", "smtp://[::1]:25"]
    {
        assert!(Relay::new(good, password()).is_ok(), "{good}");
    }
    let relay = Relay::new("smtps://me%40x.test@mail.test", password()).unwrap();
    assert!(format!("{relay:?}").contains("me@x.test") && !format!("{relay:?}").contains("word"));
    for (bad, error) in [
        ("mail.test", RelayError::Url),
        ("http://mail.test", RelayError::Url),
        ("smtp://me:word@mail.test", RelayError::PasswordInUrl),
        ("smtp://me@mail.test", RelayError::NoPassword),
    ] {
        assert_eq!(Relay::new(bad, None).unwrap_err(), error, "{bad}");
    }
}
