//! A seeded random walk: workloads come and go while everything fails that can; then everything
//! is mended, settles, and must be as it should.
//!
//! Fails: kubelets, nodes with all that ran on them (some for good), the API server, controllers,
//! the scheduler, cables, single requests and answers (lost, late, twice), the disk's speed and
//! room, the wall clock; and history ends under whoever watches. Invariants on the way are watched by the runtimes and the observer. At the
//! end every pod has converged, workloads have what they ask for, Services lead to what is ready,
//! and runtimes hold nothing that the API does not.

mod objects;
mod settled;

use std::time::Duration;

use anyhow::Result;
use base::Rng;

use crate::cluster::{Component, Options, SimCluster, simulate};
use crate::link::Weather;
use crate::panics;
use crate::trace::{Fact, Request};

/// How long things happen.
const WALK: Duration = Duration::from_secs(600);
/// How long everything has to settle: the longest back-off and then some.
const SETTLE: Duration = Duration::from_secs(700);
/// How often it is looked at meanwhile. What was found at rest twice in a row is at rest: nothing
/// but crash loops happens any more, and most of a walk's cost would be waiting.
const LOOK: Duration = Duration::from_secs(100);
/// Requests take one to so many milliseconds.
const WAY_MS: u64 = 3;
/// Pods that exist at a time.
const PODS_LIMIT: usize = 25;

/// A kind of workload, and how much of it there is.
struct Workload {
    kind: &'static str,
    /// What its objects' names begin with.
    name: &'static str,
    /// The object, and its Service if it has one, as YAML.
    make: fn(&str, &mut Rng) -> String,
    /// How often it is chosen, compared to the others.
    share: u64,
    /// How many there are at a time.
    limit: usize,
    /// It has a number of replicas, and a Service of its name.
    is_scaled: bool,
}

/// Those whose pods stay come first.
const WORKLOADS: &[Workload] = &[
    Workload {
        kind: "deployments",
        name: "web",
        make: objects::deployment,
        share: 6,
        limit: 3,
        is_scaled: true,
    },
    Workload {
        kind: "statefulsets",
        name: "set",
        make: objects::stateful_set,
        share: 3,
        limit: 2,
        is_scaled: true,
    },
    Workload {
        kind: "daemonsets",
        name: "each",
        make: objects::daemon_set,
        share: 1,
        limit: 1,
        is_scaled: false,
    },
    Workload {
        kind: "cronjobs",
        name: "cron",
        make: objects::cron_job,
        share: 1,
        limit: 2,
        is_scaled: false,
    },
    Workload {
        kind: "jobs",
        name: "job",
        make: objects::job,
        share: 3,
        limit: 20,
        is_scaled: false,
    },
];

/// What a walk gave.
#[derive(Clone, Debug)]
pub struct Report {
    /// Everything that happened.
    pub facts: Vec<Fact>,
    /// Every request, in order.
    pub requests: Vec<Request>,
    /// Everything that should not be.
    pub violations: Vec<String>,
    /// Objects made.
    pub made: u64,
}

/// Walks with this seed. The same seed gives the same trace, down to the order of requests.
pub fn walk(seed: u64) -> Result<Report> {
    walk_with(seed, Scale::Everything)
}

/// Walks with pods that have names, kubelets that crash and cables that are cut.
pub fn small_walk(seed: u64) -> Result<Report> {
    walk_with(seed, Scale::PodsAndKubelets)
}

/// What a walk consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    PodsAndKubelets,
    Everything,
}

fn walk_with(seed: u64, scale: Scale) -> Result<Report> {
    let options = Options {
        seed,
        nodes: 3,
        latency: Duration::from_millis(800),
        way: Duration::from_millis(WAY_MS),
    };
    panics::remember();
    let report = simulate(options, |cluster| async move {
        let mut walk = Walk::new(cluster, scale);
        let mut passed = Duration::ZERO;
        while passed < WALK && !walk.cluster.trace().is_overrun() {
            walk.step().await?;
            let pause = Duration::from_millis(100 + walk.rng.below(6000));
            walk.cluster.tick(pause).await;
            passed += pause;
        }
        walk.mend_all().await?;
        let cluster = walk.cluster;
        settle(&cluster).await?;
        Ok(Report {
            facts: cluster.trace().facts(),
            requests: cluster.trace().requests(),
            violations: cluster.trace().violations(),
            made: walk.made,
        })
    });
    let panics = panics::seen();
    report.map(|mut report| {
        report.violations.extend(panics);
        report
    })
}

/// Waits until everything is at rest; what is not, after so long, are violations.
async fn settle(cluster: &SimCluster) -> Result<()> {
    let (mut passed, mut was_settled) = (Duration::ZERO, false);
    loop {
        cluster.tick(LOOK).await;
        passed += LOOK;
        if cluster.trace().is_overrun() {
            return Ok(());
        }
        let unsettled = settled::unsettled(cluster).await?;
        let is_settled = unsettled.is_empty();
        if is_settled && was_settled {
            return Ok(());
        }
        if passed >= SETTLE {
            for text in unsettled {
                cluster.trace().violation(text);
            }
            return Ok(());
        }
        was_settled = is_settled;
    }
}

struct Walk {
    cluster: SimCluster,
    scale: Scale,
    rng: Rng,
    /// Objects so far: each has a name of its own.
    made: u64,
}

impl Walk {
    fn new(mut cluster: SimCluster, scale: Scale) -> Self {
        let rng = cluster.rng("walk");
        Self {
            cluster,
            scale,
            rng,
            made: 0,
        }
    }

    async fn step(&mut self) -> Result<()> {
        let kinds = match self.scale {
            Scale::PodsAndKubelets => 78,
            Scale::Everything => 103,
        };
        match self.rng.below(kinds) {
            0..58 => self.use_it().await,
            58..78 => self.break_nodes().await,
            78..86 => self.break_control_plane().await,
            86..92 => {
                self.cluster.set_weather(weather(&mut self.rng));
                Ok(())
            }
            92..95 => {
                self.cluster.set_weather(Weather::default());
                Ok(())
            }
            95..98 => {
                self.cluster.fill_disk(true);
                self.pause(20).await;
                self.cluster.fill_disk(false);
                Ok(())
            }
            98..100 => {
                let most = if self.rng.below(3) == 0 {
                    3_600_000
                } else {
                    5_000
                };
                let by = i64::try_from(self.rng.below(2 * most)).unwrap_or(0);
                self.cluster.jump(by - i64::try_from(most).unwrap_or(0));
                Ok(())
            }
            _ => self.cluster.forget_history(),
        }
    }

    /// What people do.
    async fn use_it(&mut self) -> Result<()> {
        if self.scale == Scale::PodsAndKubelets {
            return match self.rng.below(7) {
                0..4 => self.make_pod().await,
                _ => self.delete_pod().await,
            };
        }
        match self.rng.below(58) {
            0..22 => self.make_pod().await,
            22..34 => self.make_workload().await,
            34..42 => self.change_workload().await,
            42..45 => self.delete_workload().await,
            _ => self.delete_pod().await,
        }
    }

    async fn make_pod(&mut self) -> Result<()> {
        if self.names("pods").await?.len() >= PODS_LIMIT {
            return self.delete_pod().await;
        }
        self.made += 1;
        let pod = objects::pod(&format!("pod-{}", self.made), &mut self.rng);
        self.cluster.apply(&pod).await
    }

    async fn delete_pod(&mut self) -> Result<()> {
        match self.choose("pods").await? {
            Some(name) => self.cluster.delete("pod", "default", &name, None).await,
            None => Ok(()),
        }
    }

    async fn make_workload(&mut self) -> Result<()> {
        let workload = self.kind_of_workload(WORKLOADS);
        if self.names(workload.kind).await?.len() >= workload.limit {
            return Ok(());
        }
        self.made += 1;
        let name = format!("{}-{}", workload.name, self.made);
        let objects = (workload.make)(&name, &mut self.rng);
        self.cluster.apply(&objects).await
    }

    /// Of those whose pods stay.
    async fn change_workload(&mut self) -> Result<()> {
        let workload = self.kind_of_workload(&WORKLOADS[..3]);
        let Some(name) = self.choose(workload.kind).await? else {
            return Ok(());
        };
        let (replicas, version) = match self.rng.below(2) {
            0 if workload.is_scaled => (Some(self.rng.below(6)), None),
            _ => (None, Some(self.rng.below(1000))),
        };
        let change = objects::change(replicas, version);
        self.cluster
            .merge(workload.kind, "default", &name, &change)
            .await
    }

    async fn delete_workload(&mut self) -> Result<()> {
        let workload = self.kind_of_workload(WORKLOADS);
        let Some(name) = self.choose(workload.kind).await? else {
            return Ok(());
        };
        if workload.is_scaled {
            self.cluster
                .delete("service", "default", &name, None)
                .await?;
        }
        self.cluster
            .delete(workload.kind, "default", &name, None)
            .await
    }

    fn kind_of_workload(&mut self, from: &'static [Workload]) -> &'static Workload {
        let all: u64 = from.iter().map(|workload| workload.share).sum();
        let mut drawn = self.rng.below(all);
        let chosen = from.iter().find(|workload| {
            let is_chosen = drawn < workload.share;
            drawn = drawn.saturating_sub(workload.share);
            is_chosen
        });
        chosen.unwrap_or(&from[0])
    }

    async fn break_nodes(&mut self) -> Result<()> {
        let (running, down) = (self.cluster.kubelets(true), self.cluster.kubelets(false));
        match self.rng.below(20) {
            0..7 => match choose(&mut self.rng, running) {
                Some(node) => self.cluster.kill_kubelet(&node),
                None => Ok(()),
            },
            7..14 => match choose(&mut self.rng, down) {
                Some(node) => self.cluster.start_kubelet(&node),
                None => Ok(()),
            },
            14..16 => match choose(&mut self.rng, running) {
                Some(node) => self.cluster.cut(&node),
                None => Ok(()),
            },
            16..17 if self.scale == Scale::Everything => match choose(&mut self.rng, running) {
                Some(node) => self.cluster.power_off(&node),
                None => Ok(()),
            },
            17..18 if self.scale == Scale::Everything => {
                // Another machine takes the place of one that never comes back.
                if let Some(node) = choose(&mut self.rng, running) {
                    self.cluster.lose(&node).await?;
                    self.cluster.add_node()?;
                }
                Ok(())
            }
            _ => self.connect_all(),
        }
    }

    fn connect_all(&mut self) -> Result<()> {
        for node in self.cluster.kubelets(true) {
            self.cluster.mend(&node)?;
        }
        Ok(())
    }

    /// One component, or all of them at once, are gone for a while.
    async fn break_control_plane(&mut self) -> Result<()> {
        let parts = match self.rng.below(4) {
            0 => &Component::ALL[..],
            1 => &Component::ALL[..1],
            2 => &Component::ALL[1..2],
            _ => &Component::ALL[2..],
        };
        for part in parts {
            self.cluster.crash(*part);
        }
        self.pause(30).await;
        for part in parts {
            self.cluster.start_component(*part).await?;
        }
        Ok(())
    }

    /// What would go on for ever ends, too.
    async fn mend_all(&mut self) -> Result<()> {
        self.cluster.set_weather(Weather::default());
        for name in self.names("cronjobs").await? {
            self.cluster
                .merge("cronjobs", "default", &name, "spec: {suspend: true}")
                .await?;
        }
        for node in self.cluster.kubelets(false) {
            self.cluster.start_kubelet(&node)?;
        }
        self.connect_all()
    }

    async fn pause(&mut self, most_seconds: u64) {
        let pause = Duration::from_millis(self.rng.below(1000 * most_seconds));
        self.cluster.tick(pause).await;
    }

    async fn choose(&mut self, kind: &str) -> Result<Option<String>> {
        let names = self.names(kind).await?;
        Ok(choose(&mut self.rng, names))
    }

    async fn names(&self, kind: &str) -> Result<Vec<String>> {
        let objects = self.cluster.list(kind, "default").await?;
        let mut names: Vec<String> = objects.iter().map(|o| o.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }
}

fn weather(rng: &mut Rng) -> Weather {
    let mut some = |most: u64| match rng.below(2) {
        0 => rng.below(most),
        _ => 0,
    };
    Weather {
        lost_requests: some(200),
        lost_answers: some(200),
        delay: Duration::from_millis(some(2000)),
        disk_delay: Duration::from_millis(some(3000)),
        repeated: some(200),
    }
}

fn choose(rng: &mut Rng, from: Vec<String>) -> Option<String> {
    let at = usize::try_from(rng.below(from.len() as u64)).ok()?;
    from.into_iter().nth(at)
}
