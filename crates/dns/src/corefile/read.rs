//! Lines → blocks and directives.

use std::net::{IpAddr, SocketAddr};

use super::lex::{Line, lines};
use super::{
    Block, CacheRule, Corefile, CorefileError, Finding, Forward, Kubernetes, Pods, Policy, Upstream,
};
use crate::answer::is_reverse;
use crate::message::wire;
use crate::zone::label;

/// Upstreams of one `forward`, as coredns has it.
const UPSTREAM_LIMIT: usize = 15;
/// Questions under way when `max_concurrent` is not said: coredns has no bound, we always do.
const CONCURRENT: usize = 1000;
const CONCURRENT_LIMIT: usize = 4096;
const TTL_LIMIT: u32 = 3600;
const CACHE_LIMIT: usize = 100_000;

/// Directives that say how coredns' own process is watched or run; here the agent does that.
const OF_THE_PROCESS: [&str; 9] = [
    "errors",
    "health",
    "ready",
    "prometheus",
    "reload",
    "loadbalance",
    "bufsize",
    "metadata",
    "trace",
];

struct Reader {
    findings: Vec<Finding>,
}

pub(super) fn read(text: &str) -> Result<Corefile, CorefileError> {
    let mut reader = Reader {
        findings: Vec::new(),
    };
    let mut blocks = Vec::new();
    for line in lines(text)? {
        if line.words[0] == "import" || line.words[0].starts_with('(') {
            reader.find(&line, "snippets and imports are not supported");
            continue;
        }
        let Some(within) = &line.within else {
            return Err(CorefileError {
                line: line.number,
                reason: format!("a server block without {{: {}", line.words.join(" ")),
            });
        };
        let mut block = Block {
            zones: reader.zones(&line)?,
            ..Block::default()
        };
        for directive in within {
            reader.directive(directive, &mut block)?;
        }
        blocks.push(block);
    }
    if blocks.is_empty() {
        return Err(CorefileError {
            line: 1,
            reason: "there is no server block".to_owned(),
        });
    }
    Ok(Corefile {
        blocks,
        findings: reader.findings,
    })
}

fn fail(line: &Line, reason: impl Into<String>) -> CorefileError {
    CorefileError {
        line: line.number,
        reason: reason.into(),
    }
}

fn name(line: &Line, text: &str) -> Result<Box<[u8]>, CorefileError> {
    wire(text).ok_or_else(|| fail(line, format!("{text} is no name")))
}

fn names(line: &Line, words: &[String]) -> Result<Vec<Box<[u8]>>, CorefileError> {
    words.iter().map(|word| name(line, word)).collect()
}

impl Reader {
    fn find(&mut self, line: &Line, text: impl Into<String>) {
        self.findings.push(Finding {
            line: line.number,
            text: text.into(),
        });
    }

    /// `.:53`, `dns://acme.local:53`, `a.example, b.example`.
    fn zones(&mut self, line: &Line) -> Result<Vec<Box<[u8]>>, CorefileError> {
        let mut zones = Vec::new();
        let words = line.words.iter().flat_map(|word| word.split(','));
        for word in words.filter(|word| !word.is_empty()) {
            let address = match word.split_once("://") {
                None => word,
                Some(("dns", address)) => address,
                Some((scheme, _)) => {
                    self.find(
                        line,
                        format!("{scheme}:// is not served; the block {word} is"),
                    );
                    word.rsplit("://").next().unwrap_or(word)
                }
            };
            if let Ok(range) = address.parse::<ipnet::IpNet>() {
                match reverse_zone(range) {
                    Some(zone) => zones.push(name(line, &zone)?),
                    None => self.find(line, format!("{address} does not end at a label")),
                }
                continue;
            }
            let (zone, port) = address.rsplit_once(':').unwrap_or((address, "53"));
            if port != "53" {
                self.find(line, format!("port {port} of {word}: only 53 is served"));
            }
            zones.push(name(line, zone)?);
        }
        Ok(zones)
    }

    fn directive(&mut self, line: &Line, block: &mut Block) -> Result<(), CorefileError> {
        let (directive, words) = line.words.split_first().unwrap_or((&EMPTY, &[]));
        match directive.as_str() {
            "kubernetes" if block.kubernetes.is_some() => {
                self.find(line, "a second kubernetes in one server block is ignored");
            }
            "kubernetes" => block.kubernetes = Some(self.kubernetes(line, words, &block.zones)?),
            "forward" => {
                let forward = self.forward(line, words)?;
                block.forwards.push(forward);
            }
            "cache" => block.cache = Some(self.cache(line, words, &block.zones)?),
            "loop" => block.detect_loop = true,
            "log" => block.log = true,
            known if OF_THE_PROCESS.contains(&known) => {}
            unknown => self.find(
                line,
                format!("{unknown} is not supported and has no effect"),
            ),
        }
        Ok(())
    }

    fn kubernetes(
        &mut self,
        line: &Line,
        words: &[String],
        own: &[Box<[u8]>],
    ) -> Result<Kubernetes, CorefileError> {
        let all = match words.is_empty() {
            true => own.to_vec(),
            false => names(line, words)?,
        };
        let (reverse, zones): (Vec<_>, Vec<_>) = all.into_iter().partition(|zone| is_reverse(zone));
        if zones.is_empty() {
            return Err(fail(line, "kubernetes without a domain"));
        }
        let mut rules = Kubernetes {
            zones,
            reverse,
            fall_through: Vec::new(),
            pods: Pods::Disabled,
            ttl: 5,
            ignore_empty: false,
            namespaces: Vec::new(),
        };
        for option in line.within.iter().flatten() {
            let (key, words) = option.words.split_first().unwrap_or((&EMPTY, &[]));
            let first = words.first().map(String::as_str);
            match (key.as_str(), first) {
                ("pods", Some("insecure")) => rules.pods = Pods::Insecure,
                ("pods", Some("disabled")) => rules.pods = Pods::Disabled,
                ("pods", Some("verified")) => {
                    rules.pods = Pods::Insecure;
                    self.find(option, "pods verified is not supported: insecure is done");
                }
                ("ttl", Some(text)) => {
                    let parsed = text.parse::<u32>().ok().filter(|ttl| *ttl <= TTL_LIMIT);
                    rules.ttl = parsed.ok_or_else(|| {
                        fail(option, format!("ttl must be in range [0, 3600]: {text}"))
                    })?;
                }
                ("fallthrough", None) => rules.fall_through = vec![Box::new([0])],
                ("fallthrough", Some(_)) => rules.fall_through = names(option, words)?,
                ("ignore", Some("empty_service")) => rules.ignore_empty = true,
                ("namespaces", Some(_)) => {
                    rules.namespaces = words.iter().filter_map(|word| label(word)).collect();
                }
                // What older Corefiles still have; upstream's migration drops it as well.
                ("upstream", _) => {}
                _ => self.find(
                    option,
                    format!("kubernetes: {} is not supported", option.words.join(" ")),
                ),
            }
        }
        Ok(rules)
    }

    fn forward(&mut self, line: &Line, words: &[String]) -> Result<Forward, CorefileError> {
        let Some((from, targets)) = words.split_first().filter(|(_, to)| !to.is_empty()) else {
            return Err(fail(line, "forward needs a name and at least one server"));
        };
        let mut forward = Forward {
            from: name(line, from)?,
            except: Vec::new(),
            to: Vec::new(),
            policy: Policy::Random,
            max_concurrent: CONCURRENT,
            max_fails: 2,
            force_tcp: false,
        };
        if targets.len() > UPSTREAM_LIMIT {
            return Err(fail(line, "more than 15 servers configured"));
        }
        for target in targets {
            match upstream(target) {
                Some(upstream) => forward.to.push(upstream),
                None if target.contains("://") => {
                    self.find(
                        line,
                        format!("forward: {target}: only plain DNS is supported"),
                    );
                }
                None => {
                    return Err(fail(line, format!("not an IP address or file: {target:?}")));
                }
            }
        }
        for option in line.within.iter().flatten() {
            let (key, words) = option.words.split_first().unwrap_or((&EMPTY, &[]));
            let first = words.first().map(String::as_str);
            let number = first.and_then(|text| text.parse::<u32>().ok());
            match (key.as_str(), first, number) {
                ("except", Some(_), _) => forward.except = names(option, words)?,
                ("force_tcp", ..) => forward.force_tcp = true,
                ("prefer_udp", ..) => forward.force_tcp = false,
                ("policy", Some("random"), _) => forward.policy = Policy::Random,
                ("policy", Some("round_robin"), _) => forward.policy = Policy::RoundRobin,
                ("policy", Some("sequential"), _) => forward.policy = Policy::Sequential,
                ("max_fails", _, Some(number)) => forward.max_fails = number,
                ("max_concurrent", _, Some(number)) => {
                    let number = usize::try_from(number).unwrap_or(CONCURRENT_LIMIT);
                    forward.max_concurrent = match number {
                        0 => CONCURRENT,
                        number => number.min(CONCURRENT_LIMIT),
                    };
                }
                // How idle connections and probes are kept: there are none.
                ("expire" | "health_check" | "max_age" | "max_idle_conns", ..) => {}
                _ => self.find(
                    option,
                    format!("forward: {} is not supported", option.words.join(" ")),
                ),
            }
        }
        Ok(forward)
    }

    fn cache(
        &mut self,
        line: &Line,
        words: &[String],
        own: &[Box<[u8]>],
    ) -> Result<CacheRule, CorefileError> {
        let mut rule = CacheRule {
            success: 3600,
            denial: 1800,
            success_capacity: 9984,
            denial_capacity: 9984,
            no_success: Vec::new(),
            no_denial: Vec::new(),
        };
        if let Some(first) = words.first() {
            if let Ok(seconds) = first.parse::<u32>() {
                (rule.success, rule.denial) = (seconds, seconds);
            }
            if words.len() > usize::from(first.parse::<u32>().is_ok()) {
                self.find(line, "cache: it always holds for the whole server block");
            }
        }
        for option in line.within.iter().flatten() {
            let (key, words) = option.words.split_first().unwrap_or((&EMPTY, &[]));
            let word = |index: usize| words.get(index).map(String::as_str);
            let number = |index: usize| word(index).and_then(|text| text.parse::<u32>().ok());
            match (key.as_str(), word(0)) {
                ("success" | "denial", Some(_)) => {
                    let Some(capacity) = number(0) else {
                        return Err(fail(option, format!("{key} needs a number")));
                    };
                    let capacity = usize::try_from(capacity)
                        .unwrap_or(CACHE_LIMIT)
                        .min(CACHE_LIMIT);
                    let success = key == "success";
                    let (own_capacity, seconds) = match success {
                        true => (&mut rule.success_capacity, &mut rule.success),
                        false => (&mut rule.denial_capacity, &mut rule.denial),
                    };
                    *own_capacity = capacity;
                    *seconds = number(1).unwrap_or(*seconds);
                }
                ("disable", Some(what @ ("success" | "denial"))) => {
                    let zones = match words.len() {
                        1 => own.to_vec(),
                        _ => names(option, &words[1..])?,
                    };
                    match what {
                        "success" => rule.no_success = zones,
                        _ => rule.no_denial = zones,
                    }
                }
                _ => self.find(
                    option,
                    format!("cache: {} is not supported", option.words.join(" ")),
                ),
            }
        }
        Ok(rule)
    }
}

static EMPTY: String = String::new();

/// `10.0.0.53`, `10.0.0.53:5353`, `[fd00::1]:53`, `dns://…`, `/etc/resolv.conf`.
fn upstream(text: &str) -> Option<Upstream> {
    if text.starts_with('/') {
        return Some(Upstream::File(text.into()));
    }
    let text = text.strip_prefix("dns://").unwrap_or(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Upstream::Address(SocketAddr::new(address, 53)));
    }
    text.parse().ok().map(Upstream::Address)
}

/// `10.0.0.0/8` → `10.in-addr.arpa`.
fn reverse_zone(range: ipnet::IpNet) -> Option<String> {
    let length = range.prefix_len();
    match range.network() {
        IpAddr::V4(network) if length.is_multiple_of(8) => {
            let kept = usize::from(length / 8);
            let mut labels: Vec<String> = network.octets()[..kept]
                .iter()
                .map(ToString::to_string)
                .collect();
            labels.reverse();
            labels.push("in-addr.arpa".to_owned());
            Some(labels.join("."))
        }
        IpAddr::V6(network) if length.is_multiple_of(4) => {
            let bits = u128::from(network);
            let mut labels: Vec<String> = (0..u32::from(length / 4))
                .map(|index| format!("{:x}", (bits >> (124 - 4 * index)) & 0xf))
                .collect();
            labels.reverse();
            labels.push("ip6.arpa".to_owned());
            Some(labels.join("."))
        }
        _ => None,
    }
}
