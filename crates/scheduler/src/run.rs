//! The shell: keeps queue and snapshot equal to the API, decides one pod after the other, writes
//! what was decided beside that.

mod watch;
mod world;
mod write;

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Rng, Shutdown, tasks};
use client::{Client, Recorder};
use tokio::sync::Semaphore;

use crate::run::world::{Next, World};
use crate::run::write::{Reports, Writer};

/// Bindings and preemptions under way at most; then decisions wait.
const WRITES: usize = 512;

/// What the scheduler needs besides the API.
#[derive(Clone)]
pub struct Config {
    /// Pods that ask for this name are ours.
    pub scheduler_name: String,
    /// Records Scheduled, FailedScheduling and Preempted.
    pub recorder: Recorder,
    /// Decides between equal nodes.
    pub rng: Rng,
    /// For the times of conditions.
    pub clock: Arc<dyn Clock>,
}

/// Schedules until shutdown.
pub async fn run(client: Client, config: Config, shutdown: Shutdown) {
    let Config {
        scheduler_name,
        recorder,
        mut rng,
        clock,
    } = config;
    let world = Arc::new(World::new(scheduler_name.clone()));
    let writer = Arc::new(Writer {
        client: client.clone(),
        recorder,
        clock,
        scheduler_name,
    });
    watch::start(&client, &world, &shutdown).await;
    let reports = Reports::start(&writer, &world, &shutdown);
    let writes = Arc::new(Semaphore::new(WRITES));
    loop {
        let Ok(permit) = writes.clone().acquire_owned().await else {
            return;
        };
        match world.decide_next(&mut rng) {
            Next::Bind(pod, node) => {
                let (writer, world) = (writer.clone(), world.clone());
                tasks::spawn("bind", &shutdown, async move {
                    writer.bind(&world, &pod, &node).await;
                    drop(permit);
                });
            }
            Next::Failed(failed) => {
                if let Some(preemption) = failed.preemption {
                    let (writer, world) = (writer.clone(), world.clone());
                    let pod = failed.report.pod.clone();
                    tasks::spawn("preempt", &shutdown, async move {
                        writer.preempt(&world, &pod, preemption).await;
                        drop(permit);
                    });
                }
                for report in failed.cleared {
                    reports.send(report).await;
                }
                reports.send(failed.report).await;
            }
            Next::Wait(at) => {
                drop(permit);
                world.wait(at).await;
                continue;
            }
        }
        // Events and writes run on the same threads.
        tokio::task::yield_now().await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
