//! Laws of slices over random histories: every publishable pod is in exactly one slice, no slice
//! is over its size, a settled world is left alone, and one pod's change writes few slices.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Rng;

use super::service;
use super::slices::{apply, zone_of};
use crate::endpoint::pod::Pod;
use crate::endpoint::slice::Slice;
use crate::endpoint::slice_plan::{MAX, World, plan};

const HEAVY: &str = r#"{"metadata":{"namespace":"default","name":"web","uid":"u"},
  "spec":{"clusterIP":"10.96.0.10","ipFamilies":["IPv4"],"selector":{"app":"web"},
          "ports":[{"name":"http","port":80,"targetPort":"web","protocol":"TCP"}]}}"#;

fn pod(number: u64, rng: &mut Rng) -> Pod {
    let [.., c, d] = u32::try_from(number).unwrap().to_be_bytes();
    let name = format!("p{number}");
    Pod {
        namespace: "default".into(),
        uid: name.clone(),
        name,
        node: "n1".into(),
        addresses: vec![[10, 0, c, d].into()],
        ready: rng.below(4) > 0,
        ports: vec![(
            "web".into(),
            "TCP".into(),
            80 + u16::try_from(rng.below(2)).unwrap(),
        )],
        ..Pod::default()
    }
}

fn check_laws(pods: &BTreeMap<u64, Arc<Pod>>, slices: &[Arc<Slice>]) {
    let mut seen = BTreeMap::new();
    for slice in slices {
        assert!(
            slice.endpoints.len() <= MAX,
            "{} is over its size",
            slice.name
        );
        for endpoint in &slice.endpoints {
            let name = endpoint.target.as_ref().unwrap().name.clone();
            let before = seen.insert(name.clone(), (slice.ports.clone(), endpoint.clone()));
            assert!(before.is_none(), "{name} is in two slices");
        }
    }
    let wanted: Vec<_> = pods.values().filter(|pod| pod.is_reachable()).collect();
    assert_eq!(wanted.len(), seen.len());
    for pod in wanted {
        let (ports, endpoint) = &seen[&pod.name];
        assert_eq!(ports[0].port, Some(i64::from(pod.ports[0].2)));
        assert_eq!(endpoint.ready, Some(pod.ready && !pod.terminating));
        assert_eq!(endpoint.terminating, Some(pod.terminating));
    }
}

#[test]
fn random_histories() {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let service = service(HEAVY);
        let mut pods: BTreeMap<u64, Arc<Pod>> = BTreeMap::new();
        let (mut slices, mut next): (Vec<Arc<Slice>>, u64) = (Vec::new(), 0);
        for _ in 0..60 {
            let changes = if rng.below(5) == 0 {
                1 + rng.below(150)
            } else {
                1
            };
            for _ in 0..changes {
                let number = rng.below(400);
                match pods.get_mut(&number) {
                    None => {
                        pods.insert(number, Arc::new(pod(number, &mut rng)));
                    }
                    Some(_) if rng.below(3) == 0 => {
                        pods.remove(&number);
                    }
                    Some(known) if rng.below(2) == 0 => Arc::make_mut(known).ready ^= true,
                    Some(known) => Arc::make_mut(known).terminating = true,
                }
            }
            let all: Vec<Arc<Pod>> = pods.values().cloned().collect();
            let world = |slices: &[Arc<Slice>]| {
                plan(&World {
                    service: &service,
                    pods: &all,
                    zone_of: &zone_of,
                    slices,
                })
            };
            let made = world(&slices);
            if changes == 1 && !slices.is_empty() {
                let writes = made.create.len() + made.update.len() + made.delete.len();
                assert!(writes <= 2, "one change wrote {writes} slices");
            }
            slices = apply(&service, &made, &slices, &mut next);
            check_laws(&pods, &slices);
            let again = world(&slices);
            assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
        }
    }
}
