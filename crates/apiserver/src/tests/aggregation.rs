//! Servers behind this one: watched over, asked over TLS, and shielded from who may not.

use std::sync::Arc;

use base::{Clock, Shutdown, SystemClock};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use parking_lot::Mutex;
use pki::{Ca, Profile};
use transport::server::ServerConfig;
use transport::tls::{Certificates, ClientCas, ServerTls};
use transport::{Body, PeerCertificates, Request, Response, Service};

use super::harness::Harness;
use crate::{Authorizer, Decision, FrontProxy, RequestInfo, UserInfo};

const FLUNDERS: &str = "/apis/wardle.example.com/v1/flunders";

/// A control plane, the CA of a server behind it, and what that server has seen.
struct World {
    h: Harness,
    ca: Ca,
    front: Ca,
    seen: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> World {
        let now = SystemClock.now();
        let front = Ca::generate("front-proxy-ca", now).unwrap();
        let profile = Profile::client("front-proxy-client", []);
        let own = front.issue(&profile, now).unwrap();
        let identity =
            Certificates::from_pem(own.cert_pem.as_bytes(), own.key_pem.as_bytes()).unwrap();
        let proxy = FrontProxy {
            ca_pem: front.cert_pem().to_owned(),
            identity,
            allowed_names: vec!["front-proxy-client".to_owned()],
        };
        World {
            h: Harness::with(|config| config.front_proxy = Some(proxy)),
            ca: Ca::generate("wardle", now).unwrap(),
            front,
            seen: Arc::default(),
        }
    }

    /// Serves flunders over TLS to whom the front proxy's CA vouches for; its port.
    fn serve(&self) -> u16 {
        let profile = Profile::server("wardle", ["wardle.default.svc"]);
        let own = self.ca.issue(&profile, SystemClock.now()).unwrap();
        let tls = ServerTls {
            certificates: Certificates::from_pem(own.cert_pem.as_bytes(), own.key_pem.as_bytes())
                .unwrap(),
            client_cas: Some(ClientCas::from_pem(self.front.cert_pem().as_bytes()).unwrap()),
        };
        let config = ServerConfig {
            tls: Some(tls),
            ..ServerConfig::default()
        };
        let seen = Arc::clone(&self.seen);
        let service = transport::service_fn(move |request: Request| {
            let seen = Arc::clone(&seen);
            async move { wardle(&seen, &request) }
        });
        self.h.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let shutdown = Shutdown::new();
            let serving = transport::server::serve(listener, config, service, shutdown.clone());
            let _detached = base::tasks::spawn("wardle", &shutdown, async move {
                let _end = serving.await;
            });
            port
        })
    }

    fn register(&self, port: u16, ca: &Ca) {
        let service = r#"{"metadata":{"name":"wardle"},"spec":{"type":"ExternalName","externalName":"127.0.0.1"}}"#;
        let (code, _, body) = self.h.send(&format!(
            "POST /api/v1/namespaces/default/services\n\n{service}"
        ));
        assert_eq!(code, 201, "{body}");
        let bundle = STANDARD.encode(ca.cert_pem());
        let (code, _, body) = self.h.send(&format!(
            r#"POST /apis/apiregistration.k8s.io/v1/apiservices

{{"metadata":{{"name":"v1.wardle.example.com"}},"spec":{{"group":"wardle.example.com","version":"v1","groupPriorityMinimum":2000,"versionPriority":200,"caBundle":"{bundle}","service":{{"namespace":"default","name":"wardle","port":{port}}}}}}}"#
        ));
        assert_eq!(code, 201, "{body}");
    }

    /// The condition, once it is `status`.
    fn condition(&self, status: &str) -> String {
        let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.wardle.example.com";
        for _ in 0..100 {
            let (_, _, body) = self.h.send(&format!("GET {path}"));
            let dom = schema::Dom::parse_json(body.as_bytes()).unwrap();
            if let Some(of) = api::meta::condition(dom.as_ref(), "Available")
                && of.str("status") == status
            {
                return format!("{}: {}", of.str("reason"), of.str("message"));
            }
            self.h.settle();
        }
        panic!("never {status}");
    }
}

fn wardle(seen: &Mutex<Vec<String>>, request: &Request) -> Response {
    let of = |name: &str| -> Vec<&str> {
        let all = request.headers().get_all(name).iter();
        all.map(|value| value.to_str().unwrap()).collect()
    };
    let shown = request.extensions().get::<PeerCertificates>();
    let shown = shown.map(|chain| pki::parse_subject(&chain.0[0]).unwrap().cn);
    seen.lock().push(format!(
        "{} {} by {} [{}]{}{} shows {}",
        request.method(),
        request.uri().path(),
        of("x-remote-user").join("+"),
        of("x-remote-group").join(","),
        of("x-remote-extra-scopes%2fof").join(","),
        match request.headers().contains_key("authorization") {
            true => " with its token",
            false => "",
        },
        shown.unwrap_or_default(),
    ));
    let text = match request.uri().path() {
        "/apis/wardle.example.com/v1" => {
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"wardle.example.com/v1","resources":[{"name":"flunders","singularName":"flunder","namespaced":false,"kind":"Flunder","verbs":["get","list","watch"]}]}"#
        }
        "/openapi/v3" => {
            r#"{"paths":{"apis/wardle.example.com/v1":{"serverRelativeURL":"/openapi/v3/apis/wardle.example.com/v1?hash=A"}}}"#
        }
        "/openapi/v3/apis/wardle.example.com/v1" => r#"{"openapi":"3.0.0"}"#,
        FLUNDERS if request.uri().query() == Some("watch=1") => {
            let (sender, body) = Body::channel(2);
            let forever = Shutdown::new();
            let _detached = base::tasks::spawn("flunders", &forever.clone(), async move {
                sender.send("{\"type\":\"ADDED\"}\n".into()).await;
                forever.wait().await;
                drop(sender);
            });
            return Response::new(body);
        }
        FLUNDERS => r#"{"kind":"FlunderList","items":[]}"#,
        "/apis/wardle.example.com/v1/away" => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::FOUND;
            let place = http::HeaderValue::from_static("https://elsewhere/");
            response.headers_mut().insert("location", place);
            return response;
        }
        _ => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            return response;
        }
    };
    Response::new(Body::from(text))
}

/// Reads only what it is asked for, and nothing at all of others.
struct Nobody;

impl Authorizer for Nobody {
    fn authorize(&self, user: &UserInfo, _info: &RequestInfo) -> Decision {
        match user.name.as_str() {
            "admin" => Decision::Allow {
                reason: String::new(),
            },
            _ => Decision::NoOpinion {
                reason: String::new(),
            },
        }
    }

    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> crate::access::Rules {
        crate::access::Rules::default()
    }
}

#[test]
fn a_server_behind() {
    let world = World::new();
    let port = world.serve();
    world.register(port, &world.ca);
    assert_eq!(world.condition("True"), "Passed: all checks passed");
    world.seen.lock().clear();

    // Who asks is said by us alone; the answer is the server's.
    world.h.check(
        &format!("GET {FLUNDERS}\nAuthorization: Bearer x\nX-Remote-User: root\nX-Remote-Group: system:masters\nX-Remote-Extra-Scopes%2fof: all"),
        &expect![[r#"
            200
            {"kind":"FlunderList","items":[]}"#]],
    );
    // A watch is passed on as it comes.
    world.h.check(
        &format!("GET {FLUNDERS}?watch=1"),
        &expect![[r#"
            200
            {"type":"ADDED"}
        "#]],
    );
    world.h.check(
        "GET /apis/wardle.example.com/v1/away",
        &expect![[r#"
            502
            the backend attempted to redirect this request, which is not permitted"#]],
    );
    expect![[r#"
        GET /apis/wardle.example.com/v1/flunders by admin [system:masters,system:authenticated] shows front-proxy-client
        GET /apis/wardle.example.com/v1/flunders by admin [system:masters,system:authenticated] shows front-proxy-client
        GET /apis/wardle.example.com/v1/away by admin [system:masters,system:authenticated] shows front-proxy-client"#]].assert_eq(&world.seen.lock().join("\n"));

    // It is discovered among the others.
    let (_, _, body) = world.h.send("GET /apis");
    assert!(
        body.contains(r#""groupVersion":"wardle.example.com/v1""#),
        "{body}"
    );
    world
        .h
        .check("GET /apis/wardle.example.com", &expect![[r#"
            200
            {"kind":"APIGroup","apiVersion":"v1","name":"wardle.example.com","versions":[{"groupVersion":"wardle.example.com/v1","version":"v1"}],"preferredVersion":{"groupVersion":"wardle.example.com/v1","version":"v1"}}
        "#]]);
    let (_, _, body) = world.h.send(
        "GET /apis\nAccept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    );
    let at = body
        .find(r#"{"metadata":{"name":"wardle.example.com""#)
        .unwrap();
    expect![[r#"
        {"metadata":{"name":"wardle.example.com"},"versions":[{"version":"v1","resources":[{"resource":"flunders","responseKind":{"group":"","version":"","kind":"Flunder"},"scope":"Cluster","singularResource":"flunder","verbs":["get","list","watch"]}],"freshness":"Current"}]}]}
    "#]].assert_eq(&body[at..]);
    let (_, _, body) = world.h.send("GET /openapi/v3");
    assert!(
        body.contains("/openapi/v3/apis/wardle.example.com/v1?hash=A"),
        "{body}"
    );
    world.h.check(
        "GET /openapi/v3/apis/wardle.example.com/v1?hash=A",
        &expect![[r#"
            200
            {"openapi":"3.0.0"}"#]],
    );
}

/// Who may not is refused here: the server behind hears nothing of it.
#[test]
fn rights_come_first() {
    let world = World::new();
    let port = world.serve();
    world.register(port, &world.ca);
    world.condition("True");
    world.h.server.set_authorizer(Arc::new(Nobody));
    world.seen.lock().clear();
    let bob = world.h.server.as_user(UserInfo {
        name: "bob".to_owned(),
        ..UserInfo::default()
    });
    let request = http::Request::get(FLUNDERS).header("x-remote-user", "admin");
    let request = request.body(Body::empty()).unwrap();
    let response = world.h.block_on(bob.call(request));
    assert_eq!(response.status(), 403);
    assert_eq!(*world.seen.lock(), Vec::<String>::new());
}

/// A server with the certificate of another CA is never asked anything.
#[test]
fn another_ca() {
    let world = World::new();
    let port = world.serve();
    let other = Ca::generate("wardle", SystemClock.now()).unwrap();
    world.register(port, &other);
    let said = world.condition("False");
    assert!(
        said.starts_with(
            "FailedDiscoveryCheck: failing or missing response from https://wardle.default.svc:"
        ),
        "{said}"
    );
    assert_eq!(*world.seen.lock(), Vec::<String>::new());
    world.h.check(
        &format!("GET {FLUNDERS}"),
        &expect![[r#"
            503
            service unavailable
        "#]],
    );
}

/// Nobody listens; and when the Service goes too, that is what is said.
#[test]
fn a_dead_server() {
    let world = World::new();
    world.register(1, &world.ca);
    let said = world.condition("False");
    assert!(said.starts_with("FailedDiscoveryCheck: "), "{said}");
    world.h.check(
        &format!("GET {FLUNDERS}"),
        &expect![[r#"
            503
            service unavailable
        "#]],
    );
    // Discovery says that there is something, and that it is old.
    let (_, _, body) = world.h.send(
        "GET /apis\nAccept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    );
    let stale = r#"{"metadata":{"name":"wardle.example.com"},"versions":[{"version":"v1","freshness":"Stale"}]}"#;
    assert!(body.contains(stale), "{body}");
    world
        .h
        .send("DELETE /api/v1/namespaces/default/services/wardle");
    for _ in 0..100 {
        if world.condition("False").starts_with("ServiceNotFound") {
            break;
        }
        world.h.settle();
    }
    assert_eq!(
        world.condition("False"),
        r#"ServiceNotFound: service/wardle in "default" is not present"#
    );
    let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.wardle.example.com";
    world.h.send(&format!("DELETE {path}"));
    world.h.settle();
    world.h.check(
        &format!("GET {FLUNDERS}"),
        &expect![[r#"
        404
        404 page not found
    "#]],
    );
}

/// What is served here is registered, and custom resources as long as they are served.
#[test]
fn local_ones() {
    let h = Harness::new();
    let names = || {
        h.settle();
        let (_, _, body) = h.send("GET /apis/apiregistration.k8s.io/v1/apiservices");
        let dom = schema::Dom::parse_json(body.as_bytes()).unwrap();
        let items = dom.as_ref().items("items");
        let lines = items.map(|of| {
            let spec = of.get("spec").unwrap();
            let condition = api::meta::condition(of, "Available").unwrap();
            format!(
                "{} {} {} {} {}\n",
                api::meta::of(of).name(),
                api::meta::of(of)
                    .label("kube-aggregator.kubernetes.io/automanaged")
                    .unwrap_or("-"),
                spec.int("groupPriorityMinimum").unwrap(),
                spec.int("versionPriority").unwrap(),
                condition.str("reason"),
            )
        });
        lines.collect::<Vec<_>>()
    };
    let built_in = names();
    expect![[r#"
        v1. onstart 18000 1 Local
        v1.admissionregistration.k8s.io onstart 16700 15 Local
        v1.apiextensions.k8s.io onstart 16700 15 Local
        v1.apps onstart 17800 15 Local
        v1.authentication.k8s.io onstart 17700 15 Local
        v1.authorization.k8s.io onstart 17600 15 Local
        v1.autoscaling onstart 17500 15 Local
        v1.batch onstart 17400 15 Local
        v1.certificates.k8s.io onstart 17300 15 Local
        v1.coordination.k8s.io onstart 16500 15 Local
        v1.discovery.k8s.io onstart 16200 15 Local
        v1.events.k8s.io onstart 17750 15 Local
        v1.flowcontrol.apiserver.k8s.io onstart 16100 21 Local
        v1.networking.k8s.io onstart 17200 15 Local
        v1.node.k8s.io onstart 16300 15 Local
        v1.policy onstart 17100 15 Local
        v1.rbac.authorization.k8s.io onstart 17000 15 Local
        v1.resource.k8s.io onstart 16200 21 Local
        v1.scheduling.k8s.io onstart 16600 15 Local
        v1.storage.k8s.io onstart 16800 15 Local
        v2.autoscaling onstart 17500 30 Local
    "#]]
    .assert_eq(&built_in.concat());
    let definition = r#"{"metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":"Cluster","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}},{"name":"v2","served":false,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}"#;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, _, body) = h.send(&format!("POST {path}\n\n{definition}"));
    assert_eq!(code, 201, "{body}");
    let more: Vec<String> = names()
        .into_iter()
        .filter(|of| !built_in.contains(of))
        .collect();
    assert_eq!(more.concat(), "v1.example.com true 1000 100 Local\n");
    h.send(&format!("DELETE {path}/things.example.com"));
    h.settle();
    assert_eq!(names(), built_in);
    // What is taken away of those that are written once stays away.
    h.send("DELETE /apis/apiregistration.k8s.io/v1/apiservices/v1.apps");
    assert_eq!(names().len(), built_in.len() - 1);
}
