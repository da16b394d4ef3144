//! The server: from a packet to a reply, at once where the zone or the cache has it.
//!
//! `handle` never waits. What others must be asked becomes a [`Pending`] with a permit of its
//! forwarder, so that no more questions are under way than the Corefile allows; beyond that the
//! client is refused. Packets from outside the cluster are not answered at all: a resolver that
//! answers strangers amplifies their floods.
//! Knows no sockets of clients; those are in `listen`.

mod finish;
mod listen;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::{Chain, Rng};
use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::answer::{Answer, Chase, Place, answer, finish_chase};
use crate::cache::{Cache, key};
use crate::corefile::Corefile;
use crate::forward::{Forwarder, Question, Sockets};
use crate::message::{
    IN, Name, Query, Refusal, Reply, header_only, kind, plain, rcode, readable, wire,
};
use crate::zone::Zone;

pub(crate) use listen::listen;

/// What comes of a packet.
pub enum Verdict {
    /// The reply stands in the buffer.
    Reply,
    /// Nothing is sent.
    Silent,
    /// [`Server::finish`] asks somebody else.
    Later(Pending),
}

/// A question for somebody else, and a place among those who may ask.
pub struct Pending {
    packet: Vec<u8>,
    tcp: bool,
    chase: Option<Chase>,
    forwarder: Arc<Forwarder>,
    block: usize,
    rules: Arc<Rules>,
    _permit: OwnedSemaphorePermit,
}

/// A configuration at work.
struct Rules {
    corefile: Corefile,
    /// Of each block.
    forwarders: Vec<Vec<Arc<Forwarder>>>,
    /// Names whose HINFO only this server asks for, and who was asked.
    probes: HashMap<Box<[u8]>, Arc<Forwarder>>,
}

/// A reply with `found` for a client's question.
pub(crate) fn write_reply(query: &Query<'_>, found: &[u8], limit: usize, buffer: &mut Vec<u8>) {
    finish::reply(query, None, found, limit, buffer);
}

/// What a server needs besides zone and Corefile.
pub(crate) struct Setup {
    /// Its own addresses.
    pub(crate) own: Vec<IpAddr>,
    /// Who is answered; everybody when empty.
    pub(crate) sources: Vec<IpNet>,
    /// What `/etc/resolv.conf` means.
    pub(crate) resolv_conf: PathBuf,
    /// Where questions to others leave from.
    pub(crate) sockets: Arc<dyn Sockets>,
    /// Draws numbers of questions.
    pub(crate) rng: Rng,
}

/// See the module.
pub struct Server {
    zone: RwLock<Zone>,
    rules: RwLock<Arc<Rules>>,
    cache: Mutex<Cache>,
    turn: AtomicUsize,
    setup: Setup,
    rng: Mutex<Rng>,
    started: Instant,
}

impl Server {
    /// A server that answers from `corefile` and an empty zone.
    pub(crate) fn with(setup: Setup, corefile: Corefile) -> Self {
        let rng = Mutex::new(setup.rng.clone());
        let server = Self {
            zone: RwLock::new(Zone::new()),
            rules: RwLock::new(Arc::new(Rules {
                corefile: Corefile::default(),
                forwarders: Vec::new(),
                probes: HashMap::new(),
            })),
            cache: Mutex::new(Cache::default()),
            turn: AtomicUsize::new(0),
            setup,
            rng,
            started: Instant::now(),
        };
        server.configure(corefile);
        server
    }

    /// A server that answers everybody and asks others through the system's sockets: for
    /// measurements and tests.
    #[must_use]
    pub fn open(corefile: Corefile, resolv_conf: PathBuf) -> Self {
        let setup = Setup {
            own: Vec::new(),
            sources: Vec::new(),
            resolv_conf,
            sockets: Arc::new(crate::forward::SystemSockets),
            rng: Rng::from_os(),
        };
        Self::with(setup, corefile)
    }

    /// The zone, for whoever keeps it equal to the API.
    pub fn zone(&self) -> parking_lot::RwLockWriteGuard<'_, Zone> {
        self.zone.write()
    }

    /// Answers from another Corefile from now on; gives what looks for circles, to be asked once.
    pub(crate) fn configure(&self, corefile: Corefile) -> Vec<(Arc<Forwarder>, Question)> {
        let mut rng = self.rng.lock();
        let mut probes = HashMap::new();
        let mut questions = Vec::new();
        let mut forwarders = Vec::new();
        for block in &corefile.blocks {
            let mut own = Vec::new();
            for rule in &block.forwards {
                let forwarder = Arc::new(Forwarder::new(
                    rule.clone(),
                    &self.setup.resolv_conf,
                    self.setup.sockets.clone(),
                    rng.child("forward"),
                ));
                if block.detect_loop {
                    let labels = format!("{:016x}.{:016x}", rng.u64(), rng.u64());
                    let mut name = wire(&labels).unwrap_or_default().into_vec();
                    name.pop();
                    name.extend_from_slice(&rule.from);
                    let question = Question::probe(&name);
                    probes.insert(name.into_boxed_slice(), forwarder.clone());
                    questions.push((forwarder.clone(), question));
                }
                own.push(forwarder);
            }
            forwarders.push(own);
        }
        drop(rng);
        *self.rules.write() = Arc::new(Rules {
            corefile,
            forwarders,
            probes,
        });
        self.cache.lock().clear();
        questions
    }

    /// Answers a packet from `peer` into `buffer`, or says what else comes of it.
    pub fn handle(&self, packet: &[u8], peer: IpAddr, tcp: bool, buffer: &mut Vec<u8>) -> Verdict {
        if !self.is_ours(peer) {
            return Verdict::Silent;
        }
        let query = match Query::parse(packet) {
            Ok(query) => query,
            Err(Refusal::Silent) => return Verdict::Silent,
            Err(Refusal::Code(code)) => {
                buffer.clear();
                return match header_only(packet, code) {
                    Some(header) => {
                        buffer.extend_from_slice(&header);
                        Verdict::Reply
                    }
                    None => Verdict::Silent,
                };
            }
        };
        let limit = match tcp {
            true => usize::from(u16::MAX),
            false => query.udp_limit(),
        };
        if query.edns.is_some_and(|edns| edns.version > 0) {
            // BADVERS is 16: one in the upper bits.
            let mut reply = Reply::new(buffer, &query, limit, 0);
            reply.extended_code(1);
            reply.finish();
            return Verdict::Reply;
        }
        let rules = self.rules.read().clone();
        self.answer(&rules, &query, limit, tcp, buffer)
    }

    fn answer(
        &self,
        rules: &Arc<Rules>,
        query: &Query<'_>,
        limit: usize,
        tcp: bool,
        buffer: &mut Vec<u8>,
    ) -> Verdict {
        if query.kind == kind::HINFO
            && let Some(forwarder) = rules.probes.get(query.name.wire())
        {
            tracing::error!(
                name = readable(query.name.wire()),
                "a resolver that is asked asks this server: names outside the cluster are not resolved until the Corefile or the host's resolver changes"
            );
            forwarder.mark_circle();
            plain(buffer, query, limit, rcode::SERVER_FAILURE);
            return Verdict::Reply;
        }
        let Some(block) = rules.block(&query.name) else {
            plain(buffer, query, limit, rcode::REFUSED);
            return Verdict::Reply;
        };
        if rules.corefile.blocks[block].log {
            let name = readable(query.name.wire());
            tracing::info!(name, kind = query.kind, "query");
        }
        let Some(kubernetes) = &rules.corefile.blocks[block].kubernetes else {
            return self.elsewhere(rules, block, query, None, limit, tcp, buffer);
        };
        let place = Place {
            rules: kubernetes,
            own: &self.setup.own,
            limit,
            turn: self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let outcome = answer(&self.zone.read(), place, query, buffer);
        match outcome {
            Answer::Done => Verdict::Reply,
            Answer::Elsewhere => self.elsewhere(rules, block, query, None, limit, tcp, buffer),
            Answer::Chase(chase) => {
                let target = chase.targets.last().and_then(|last| Name::from_wire(last));
                let block = target.as_ref().and_then(|target| rules.block(target));
                let Some(block) = block else {
                    finish_chase(query, &chase, None, limit, buffer);
                    return Verdict::Reply;
                };
                self.elsewhere(rules, block, query, Some(chase), limit, tcp, buffer)
            }
        }
    }

    /// From the cache, or by asking somebody.
    #[expect(
        clippy::too_many_arguments,
        reason = "one question's facts, passed on once"
    )]
    fn elsewhere(
        &self,
        rules: &Arc<Rules>,
        block: usize,
        query: &Query<'_>,
        chase: Option<Chase>,
        limit: usize,
        tcp: bool,
        buffer: &mut Vec<u8>,
    ) -> Verdict {
        let target = chase.as_ref().and_then(|chase| chase.targets.last());
        let target = target.and_then(|target| Name::from_wire(target));
        let name = target.as_ref().unwrap_or(&query.name);
        let forwarder = rules.forwarders[block].iter().find(|one| one.takes(name));
        let refused = query.class != IN || matches!(query.kind, kind::AXFR | kind::IXFR);
        let Some(forwarder) = forwarder.filter(|_| !refused) else {
            plain(buffer, query, limit, rcode::REFUSED);
            return Verdict::Reply;
        };
        if rules.corefile.blocks[block].cache.is_some() {
            let mut kept = Vec::new();
            let found = self
                .cache
                .lock()
                .get(&key(query, name), self.now_ms(), &mut kept);
            if found {
                finish::reply(query, chase.as_ref(), &kept, limit, buffer);
                return Verdict::Reply;
            }
        }
        let Some(permit) = forwarder.permit() else {
            plain(buffer, query, limit, rcode::REFUSED);
            return Verdict::Reply;
        };
        Verdict::Later(Pending {
            packet: query.packet.to_vec(),
            tcp,
            chase,
            forwarder: forwarder.clone(),
            block,
            rules: rules.clone(),
            _permit: permit,
        })
    }

    /// Asks what a [`Pending`] is about and writes the reply.
    pub async fn finish(&self, pending: Pending, buffer: &mut Vec<u8>) {
        let Ok(query) = Query::parse(&pending.packet) else {
            buffer.clear();
            return;
        };
        let limit = match pending.tcp {
            true => usize::from(u16::MAX),
            false => query.udp_limit(),
        };
        let target = pending
            .chase
            .as_ref()
            .and_then(|chase| chase.targets.last());
        let question = Question::of(&query, target.map(|target| &**target));
        let found = pending.forwarder.ask(&question, pending.tcp).await;
        let name = target
            .and_then(|target| Name::from_wire(target))
            .unwrap_or(query.name);
        match found {
            Ok(found) => {
                let rule = pending.rules.corefile.blocks[pending.block].cache.as_ref();
                // A configuration that came meanwhile has emptied the cache: nothing of before.
                let current = Arc::ptr_eq(&pending.rules, &self.rules.read());
                if let Some(rule) = rule.filter(|_| current) {
                    let mut cache = self.cache.lock();
                    let (packet, records) = (&found.packet, &found.records);
                    cache.put(
                        key(&query, &name),
                        &name,
                        packet,
                        records,
                        rule,
                        self.now_ms(),
                    );
                }
                let mut packet = found.packet;
                if pending.rules.corefile.blocks[pending.block].cache.is_some() {
                    // As the next client gets it: with the time it is kept as its TTL.
                    let cache = self.cache.lock();
                    cache.get(&key(&query, &name), self.now_ms(), &mut packet);
                }
                finish::reply(&query, pending.chase.as_ref(), &packet, limit, buffer);
            }
            Err(error) => {
                tracing::debug!(name = readable(name.wire()), err = %Chain(&error), "not resolved");
                match &pending.chase {
                    Some(chase) => finish_chase(&query, chase, None, limit, buffer),
                    None => plain(buffer, &query, limit, rcode::SERVER_FAILURE),
                }
            }
        }
    }

    /// Whether a peer belongs to the cluster: a pod, a node, this machine.
    fn is_ours(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let sources = &self.setup.sources;
        sources.is_empty()
            || peer.is_loopback()
            || sources.iter().any(|range| range.contains(&peer))
            || self.zone.read().is_server(peer)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Rules {
    /// The index of the block that answers for a name.
    fn block(&self, name: &Name) -> Option<usize> {
        self.corefile.block(name)
    }
}

#[cfg(test)]
mod tests;
