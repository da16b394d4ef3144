//! Which server is asked first, and which are left out. Pure.
//!
//! A server that failed `max_fails` times in a row is left out for a time that doubles from half
//! a second to 30 s; when all are left out all are asked, for there is nobody else.

use std::collections::HashMap;
use std::net::SocketAddr;

use base::Rng;

use crate::corefile::Policy;

const FIRST_MS: u64 = 500;
const LONGEST_MS: u64 = 30_000;
/// Servers remembered; a resolver file that changes all the time does not grow this.
const SERVER_LIMIT: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    fails: u32,
    out_until_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Health {
    policy: Policy,
    max_fails: u32,
    turn: usize,
    states: HashMap<SocketAddr, State>,
}

impl Health {
    pub(super) fn new(policy: Policy, max_fails: u32) -> Self {
        Self {
            policy,
            max_fails,
            turn: 0,
            states: HashMap::new(),
        }
    }

    /// In which order to ask: those left out come last.
    pub(super) fn order(
        &mut self,
        servers: &[SocketAddr],
        rng: &mut Rng,
        now_ms: u64,
    ) -> Vec<SocketAddr> {
        let mut order = servers.to_vec();
        match self.policy {
            Policy::Sequential => {}
            Policy::RoundRobin => {
                self.turn = self.turn.wrapping_add(1);
                let turn = self.turn.checked_rem(order.len()).unwrap_or(0);
                order.rotate_left(turn);
            }
            Policy::Random => {
                for index in (1..order.len()).rev() {
                    let bound = u64::try_from(index + 1).unwrap_or(u64::MAX);
                    let other = usize::try_from(rng.below(bound)).unwrap_or(0);
                    order.swap(index, other);
                }
            }
        }
        order.sort_by_key(|server| self.is_out(*server, now_ms));
        order
    }

    fn is_out(&self, server: SocketAddr, now_ms: u64) -> bool {
        let state = self.states.get(&server);
        state.is_some_and(|state| state.out_until_ms > now_ms)
    }

    pub(super) fn succeeded(&mut self, server: SocketAddr) {
        self.states.remove(&server);
    }

    pub(super) fn failed(&mut self, server: SocketAddr, now_ms: u64) {
        if self.states.len() >= SERVER_LIMIT {
            self.states.clear();
        }
        let state = self.states.entry(server).or_default();
        state.fails = state.fails.saturating_add(1);
        if self.max_fails > 0 && state.fails >= self.max_fails {
            let doublings = (state.fails - self.max_fails).min(6);
            state.out_until_ms = now_ms + (FIRST_MS << doublings).min(LONGEST_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn server(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 53))
    }

    #[test]
    fn one_that_fails_goes_last_until_its_time_is_over() {
        let mut health = Health::new(Policy::Sequential, 2);
        let mut rng = Rng::new(1);
        let all = [server(1), server(2)];
        let mut lines = Vec::new();
        for (now_ms, step) in [
            (0, ""),
            (0, "fail"),
            (0, "fail"),
            (499, ""),
            (501, ""),
            (501, "fail"),
            (1400, ""),
            (1502, ""),
        ] {
            if step == "fail" {
                health.failed(server(1), now_ms);
            }
            let order = health.order(&all, &mut rng, now_ms);
            lines.push(format!("{now_ms} {step}: {} first", order[0].ip()));
        }
        expect![[r#"
            0 : 10.0.0.1 first
            0 fail: 10.0.0.1 first
            0 fail: 10.0.0.2 first
            499 : 10.0.0.2 first
            501 : 10.0.0.1 first
            501 fail: 10.0.0.2 first
            1400 : 10.0.0.2 first
            1502 : 10.0.0.1 first"#]]
        .assert_eq(&lines.join("\n"));
    }
}
