//! A load balancer's question, over a real port.

use std::io::{Read, Write};
use std::net::TcpStream;

use base::Shutdown;

use crate::ServiceKey;
use crate::health::{Facts, Health};

fn ask(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_tells_how_many_endpoints() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let shutdown = Shutdown::new();
    let mut health = Health::new("here", false, &shutdown);
    let key = ServiceKey::new("a", "web");
    let facts = |count| Facts {
        port,
        ready: [count, 0],
    };
    health.update(&facts(0), &key).await.unwrap();
    let text = ask(port).unwrap();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    health.update(&facts(2), &key).await.unwrap();
    let text = ask(port).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(text.contains("\"localEndpoints\": 2,"), "{text}");
    assert!(text.contains("X-Load-Balancing-Endpoint-Weight: 2"));
    // A second Service cannot have the port, and says so.
    let other = ServiceKey::new("a", "other");
    let error = health.update(&facts(1), &other).await.unwrap_err();
    assert!(error.to_string().contains("failed to start healthcheck"));
    health.update(&Facts::default(), &key).await.unwrap();
    for _ in 0..50 {
        if ask(port).is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the port is still open");
}
