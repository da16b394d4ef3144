//! Rules of ours in chains of others: iptables' filter table, where it drops by default.
//!
//! Docker sets the policy of `ip filter FORWARD` to drop, and host firewalls do so with `INPUT`. A
//! verdict of our own table does not overrule that: in netfilter a packet must be accepted by
//! every chain of a hook. So our link is let pass there, by rules with the link's name as comment,
//! in Docker's chain for such rules (`DOCKER-USER`) when there is one. They let nothing in that
//! our own table refuses: that one comes before. `up` completes them, so that after an
//! installation of Docker one more `up` mends the way out; `down` and `stop` take them out again.
//! Rules of iptables-legacy are not seen by nft: `preflight` says so.
//! Example: `iifname "trh87cf12da" accept` and `oifname "trh87cf12da" accept` in DOCKER-USER.
//! Source: Docker's documentation "Packet filtering and firewalls"; iptables-nft(8), nft(8).

use netlink::nft::{BaseChain, Batch, CmpOp, Expr, Family, Hook, MetaKey, Nft, Table, Verdict};

use crate::error::Error;

const TABLE: &str = "filter";
const DOCKER_USER: &str = "DOCKER-USER";

/// Whether a chain that drops by default gets our rules.
pub(crate) fn admits(chain: &BaseChain) -> bool {
    chain.drops && chain.table == table() && hooks().contains(&chain.hook)
}

fn table() -> Table {
    Table::new(Family::Ip, TABLE)
}

fn hooks() -> [u32; 2] {
    [Hook::Forward as u32, Hook::Input as u32]
}

/// Lets `link` pass where iptables drops by default. Rules that are there stay as they are.
pub(super) fn admit(nft: &mut Nft, link: &str) -> Result<(), Error> {
    let dropping: Vec<BaseChain> = nft.base_chains()?.into_iter().filter(admits).collect();
    if dropping.is_empty() {
        return Ok(());
    }
    let table = table();
    let chains = nft.chains(&table)?;
    let rules = nft.rules(&table)?;
    let mut batch = Batch::new();
    for base in dropping {
        let forward = base.hook == Hook::Forward as u32;
        let docker = forward && chains.iter().any(|name| name == DOCKER_USER);
        let chain = if docker { DOCKER_USER } else { &base.name };
        let ours = |rule: &&netlink::nft::RuleId| rule.chain == chain && rule.comment == link;
        let mut keys = vec![MetaKey::InputName];
        if forward {
            keys.push(MetaKey::OutputName);
        }
        if rules.iter().filter(ours).count() >= keys.len() {
            continue;
        }
        for rule in rules.iter().filter(ours) {
            batch.delete_rule(&table, chain, rule.handle);
        }
        for key in keys {
            let mut steps = Expr::interface(key, link, CmpOp::Eq).to_vec();
            // iptables shows rules with a counter only in full.
            steps.push(Expr::Counter);
            steps.push(Expr::verdict(Verdict::Accept));
            batch.insert_commented_rule(&table, chain, &steps, link);
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    Ok(nft.commit(batch)?)
}

/// Takes the rules of `link` out again.
pub(super) fn withdraw(nft: &mut Nft, link: &str) -> Result<(), Error> {
    let table = table();
    let mut batch = Batch::new();
    for rule in nft.rules(&table)? {
        if rule.comment == link {
            batch.delete_rule(&table, &rule.chain, rule.handle);
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    Ok(nft.commit(batch)?)
}

#[cfg(test)]
mod tests;
