//! Tests of the whole: dependency rules, tidiness, scenarios, local clusters.

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod breakout;
#[cfg(test)]
mod busybox;
#[cfg(test)]
mod dependency_rules;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod local_cluster;
#[cfg(test)]
mod names;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod token_rotation;
#[cfg(test)]
mod until;
