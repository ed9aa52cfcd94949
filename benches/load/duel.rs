//! Slices of load in rotation, and what each costs its server.

use std::thread;
use std::time::Duration;

use super::Fallible;
use super::servers::Server;
use super::stats::{Estimate, as_f64, quantile};

/// The kernel's account is complete only when the server sleeps.
const REST: Duration = Duration::from_millis(2);

/// What a client says of its slice.
#[derive(Debug)]
pub(crate) struct Load {
    /// Requests that were answered, every one of them rightly.
    pub(crate) answered: u64,
    /// Nanoseconds, where they were measured.
    pub(crate) latencies: Vec<f64>,
}

/// What one slice of load gave.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    cpu: f64,
    last_share: f64,
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Slice {
    /// Nanoseconds of the server for one request.
    pub(crate) const fn cpu(&self) -> f64 {
        self.cpu
    }

    /// Of that, the share of the party's last server.
    pub(crate) const fn last_share(&self) -> f64 {
        self.last_share
    }

    /// Requests in a second.
    pub(crate) const fn rate(&self) -> f64 {
        self.rate
    }

    /// Nanoseconds within which half of the requests were answered; 0 where that was not measured.
    pub(crate) const fn p50(&self) -> f64 {
        self.p50
    }

    /// The same for 99 of 100.
    pub(crate) const fn p99(&self) -> f64 {
        self.p99
    }
}

/// A client that loads a server.
pub(crate) struct Party<'a> {
    pub(crate) name: &'static str,
    /// Whose processor time counts.
    pub(crate) servers: Vec<&'a Server>,
    /// Loads for one slice and returns once everything is answered.
    pub(crate) load: Box<dyn FnMut() -> Fallible<Load> + 'a>,
}

/// Slices of all parties, by party and cycle.
#[derive(Debug)]
pub(crate) struct Slices {
    names: Vec<&'static str>,
    by_party: Vec<Vec<Slice>>,
}

/// Gives every party a slice in each cycle, beginning with another one each time; a first cycle does not count.
pub(crate) fn run(parties: &mut [Party<'_>], cycles: usize) -> Fallible<Slices> {
    let mut by_party = vec![Vec::with_capacity(cycles); parties.len()];
    for cycle in 0..=cycles {
        for turn in 0..parties.len() {
            let at = (cycle + turn) % parties.len();
            let party = &mut parties[at];
            let slice = slice(party).map_err(|error| format!("{}: {error}", party.name))?;
            if cycle > 0 {
                by_party[at].push(slice);
            }
        }
    }
    Ok(Slices { names: parties.iter().map(|party| party.name).collect(), by_party })
}

fn slice(party: &mut Party<'_>) -> Fallible<Slice> {
    let before = cpu(&party.servers)?;
    let began = tokio::time::Instant::now();
    let mut load = (party.load)()?;
    let elapsed = began.elapsed();
    thread::sleep(REST);
    let after = cpu(&party.servers)?;
    let spent: Vec<_> = after.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).collect();
    let (all, last) = (as_f64(spent.iter().sum()), spent.last().copied().map_or(0.0, as_f64));
    let answered = as_f64(load.answered.max(1));
    let mut within = |per_mille| match &mut load.latencies[..] {
        [] => 0.0,
        latencies => quantile(latencies, per_mille),
    };
    let (p50, p99) = (within(500), within(990));
    Ok(Slice { cpu: all / answered, last_share: last / all, rate: answered / elapsed.as_secs_f64(), p50, p99 })
}

fn cpu(servers: &[&Server]) -> Fallible<Vec<u64>> {
    servers.iter().map(|server| server.cpu()).collect()
}

impl Slices {
    /// Per cycle what `value` makes of one party's slice, divided by the same of another's.
    pub(crate) fn ratio(&self, name: &str, baseline: &str, value: impl Fn(&Slice) -> f64) -> Fallible<Estimate> {
        self.compared(name, baseline, |one, other| value(one) / value(other))
    }

    /// The same, with what `compare` makes of the two slices of a cycle.
    pub(crate) fn compared(
        &self,
        name: &str,
        baseline: &str,
        compare: impl Fn(&Slice, &Slice) -> f64,
    ) -> Fallible<Estimate> {
        let pairs = self.of(name)?.iter().zip(self.of(baseline)?);
        let values: Vec<_> = pairs.map(|(one, other)| compare(one, other)).collect();
        Ok(Estimate::of(&values).ok_or("no cycle was measured")?)
    }

    /// Only the cycles in which `wanted` holds for a party's slice.
    pub(crate) fn only(&self, name: &str, wanted: impl Fn(&Slice) -> bool) -> Fallible<Self> {
        let keep: Vec<bool> = self.of(name)?.iter().map(wanted).collect();
        let kept = |slices: &Vec<Slice>| {
            let pairs = slices.iter().zip(&keep).filter(|(_, keep)| **keep);
            pairs.map(|(slice, _)| slice.clone()).collect()
        };
        Ok(Self { names: self.names.clone(), by_party: self.by_party.iter().map(kept).collect() })
    }

    /// Cycles.
    pub(crate) fn len(&self) -> usize {
        self.by_party.first().map_or(0, Vec::len)
    }

    /// The median of a party, to show proportions.
    pub(crate) fn median(&self, name: &str, value: impl Fn(&Slice) -> f64) -> Fallible<f64> {
        let mut values: Vec<_> = self.of(name)?.iter().map(value).collect();
        if values.is_empty() { Err("no cycle was measured".into()) } else { Ok(quantile(&mut values, 500)) }
    }

    fn of(&self, name: &str) -> Fallible<&[Slice]> {
        let at = self.names.iter().position(|it| *it == name).ok_or_else(|| format!("no party is called {name}"))?;
        Ok(&self.by_party[at])
    }
}
