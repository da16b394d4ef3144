//! Views over a small Pod.

use schema::Dom;

use crate::view;

#[test]
fn a_pod() {
    let dom = Dom::parse_json(
        br#"{"metadata":{"name":"a","labels":{"x":"y"}},"spec":{"nodeName":"n","priority":0,
            "containers":[{"name":"c","image":"i","command":["a","b"],"ports":[{"containerPort":80}],
            "resources":{"requests":{"cpu":"1"}},
            "readinessProbe":{"httpGet":{"port":"http"}}}]}}"#,
    )
    .unwrap();
    let pod = view::Pod(dom.as_ref());
    assert_eq!(pod.metadata().name(), "a");
    assert_eq!(pod.metadata().labels().collect::<Vec<_>>(), [("x", "y")]);
    assert_eq!(pod.spec().node_name(), "n");
    assert_eq!(pod.spec().priority(), Some(0));
    assert_eq!(pod.spec().active_deadline_seconds(), None);
    assert!(!pod.spec().host_pid());
    assert_eq!(pod.status().phase(), "");
    assert_eq!(pod.status().pod_ips().count(), 0);
    let container = pod.spec().containers().next().unwrap();
    assert_eq!(container.command().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(container.ports().next().unwrap().container_port(), 80);
    assert_eq!(
        container.resources().requests().collect::<Vec<_>>(),
        [("cpu", "1")]
    );
    assert!(container.liveness_probe().is_none());
    let probe = container.readiness_probe().unwrap();
    assert_eq!(probe.http_get().unwrap().port().as_str(), Some("http"));
}
