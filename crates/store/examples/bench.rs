//! Durable creates a second, opening, loading, memory, reads; beside a probe of the disk.
//!
//! `cargo run --release -p store --example bench [directory]`: the directory should be on the
//! disk to measure. Figures of one run are comparable with the probe of the same run only.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use store::{Config, Outcome, Range, Revision, Store, Txn};
use tokio::time::Instant;

const ROUND: Duration = Duration::from_millis(1500);

fn main() {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    if std::env::args().nth(2).is_some() {
        loaded(&Config::new(Path::new(&parent)), 100_000);
        return;
    }
    let dir = tempfile::tempdir_in(parent).expect("temporary directory");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .enable_all()
        .worker_threads(2)
        .build()
        .expect("runtime");
    opening(dir.path());
    println!("writers  probe/s  durable creates/s  relaxed creates/s");
    for round in 0..2 {
        for writers in [1, 16, 128] {
            let probe = probe(dir.path());
            let path = dir.path().join(format!("{round}-{writers}.db"));
            let store = Store::open(&Config::new(&path)).expect("open");
            let durable = runtime.block_on(creates(&store, writers, false));
            let relaxed = runtime.block_on(creates(&store, writers, true));
            println!("{writers:7}  {probe:7.0}  {durable:17.0}  {relaxed:17.0}");
        }
    }
    runtime.block_on(load(dir.path()));
}

fn opening(dir: &Path) {
    let config = Config::new(&dir.join("empty.db"));
    for what in ["made", "opened"] {
        let start = Instant::now();
        let store = Store::open(&config).expect("open");
        let opened = start.elapsed();
        drop(store);
        println!(
            "empty database {what} in {opened:?}, closed after {:?}",
            start.elapsed()
        );
    }
}

/// Appends of 2 KiB with a flush each.
fn probe(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("probe")).expect("probe");
    let (start, mut count) = (Instant::now(), 0.0);
    while start.elapsed() < ROUND / 3 {
        file.write_all(&[7; 2048])
            .and_then(|()| file.sync_data())
            .expect("probe");
        count += 1.0;
    }
    count / start.elapsed().as_secs_f64()
}

/// 1 KB that compresses about as well as an object does.
fn value(seed: u64) -> Bytes {
    let mut rng = base::Rng::new(seed);
    let mut text = String::from(r#"{"metadata":{"labels":{"app.kubernetes.io/name":"web"},"#);
    while text.len() < 1000 {
        text.push_str(&format!(
            r#""name-{:x}":"{:016x}","#,
            rng.below(64),
            rng.u64()
        ));
    }
    text.truncate(1000);
    Bytes::from(text)
}

async fn creates(store: &Store, writers: u64, relaxed: bool) -> f64 {
    let start = Instant::now();
    let tasks = (0..writers).map(|writer| {
        let store = store.clone();
        #[expect(clippy::disallowed_methods, reason = "a bench needs no supervision")]
        tokio::spawn(async move {
            let value = value(writer);
            let mut count = 0_u64;
            while start.elapsed() < ROUND {
                let key = Bytes::from(format!("/registry/{relaxed}/{writer}/{count:08}"));
                let txn = Txn::create(key, value.clone());
                let txn = if relaxed { txn.relaxed() } else { txn };
                let outcome = store.txn(txn).await.expect("create");
                assert!(matches!(outcome, Outcome::Committed { .. }));
                count += 1;
            }
            count
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.expect("writer");
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .expect("pages")
        .parse()
        .expect("number");
    pages * 4096
}

/// Opens in this process, after measuring it in a fresh one.
fn loaded(config: &Config, objects: u64) -> Store {
    if std::env::args().nth(2).is_none() {
        let this = std::env::current_exe().expect("own path");
        #[expect(
            clippy::disallowed_methods,
            reason = "memory shows in a process without a past"
        )]
        let status = std::process::Command::new(this)
            .arg(&config.path)
            .arg("load")
            .status();
        assert!(status.expect("run").success());
    }
    let (before, start) = (resident(), Instant::now());
    let store = Store::open(config).expect("open");
    let elapsed = start.elapsed();
    let bytes = (resident() - before) / objects;
    println!("{objects} objects loaded in {elapsed:?}, {bytes} bytes of memory each");
    store
}

async fn load(dir: &Path) {
    const OBJECTS: u64 = 100_000;
    let config = Config::new(&dir.join("load.db"));
    let store = Store::open(&config).expect("open");
    for chunk in 0..OBJECTS / 500 {
        let ops = (0..500).map(|n| {
            let key = format!("/registry/pods/default/web-{:08}", chunk * 500 + n);
            Txn::create(Bytes::from(key), value(n)).ops.remove(0)
        });
        let txn = Txn {
            ops: ops.collect(),
            ..Txn::default()
        }
        .relaxed();
        store.txn(txn).await.expect("fill");
    }
    drop(store);
    drop(
        Store::open(&config)
            .map(|store| store.compact(store.current_revision()))
            .expect("open"),
    );
    let store = loaded(&config, OBJECTS);
    let start = Instant::now();
    let page = store
        .range(&Range::prefix(b"/registry/pods/"))
        .expect("range");
    println!("listed {} in {:?}", page.items.len(), start.elapsed());
    let start = Instant::now();
    for n in 0..OBJECTS {
        let key = format!("/registry/pods/default/web-{n:08}");
        assert!(
            store
                .get(key.as_bytes())
                .is_some_and(|kv| kv.mod_revision > Revision(0))
        );
    }
    println!("{:.0} gets/s", 1e5 / start.elapsed().as_secs_f64());
    let size = std::fs::metadata(&config.path).expect("database").len();
    println!("{} bytes on disk an object", size / OBJECTS);
}
