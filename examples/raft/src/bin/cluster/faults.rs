//! What is done to the cluster, as a seed decides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::clients::Clients;
use crate::nodes::{Cluster, NODES};
use crate::random::Random;

/// How often each was done.
pub(crate) type Harm = BTreeMap<&'static str, u64>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    KillLeader,
    KillFollower,
    KillAll,
    SeparateLeader,
    SeparateFollower,
    UnplugLeader,
    UnplugFollower,
    LoseMemory,
}

use Fault::{
    KillAll, KillFollower, KillLeader, LoseMemory, SeparateFollower, SeparateLeader, UnplugFollower, UnplugLeader,
};

const FAULTS: [Fault; 8] =
    [KillLeader, KillFollower, KillAll, SeparateLeader, SeparateFollower, UnplugLeader, UnplugFollower, LoseMemory];

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            KillLeader => "leader killed",
            KillFollower => "follower killed",
            KillAll => "all killed",
            SeparateLeader => "leader separated from its peers",
            SeparateFollower => "follower separated from its peers",
            UnplugLeader => "leader unplugged",
            UnplugFollower => "follower unplugged",
            LoseMemory => "memory of a node lost",
        }
    }
}

/// Harms the cluster for as long, and returns what was done.
pub(crate) fn all(cluster: &mut Cluster, clients: &Clients, random: &mut Random, time: Duration) -> Outcome<Harm> {
    let (begin, mut harm) = (Instant::now(), Harm::new());
    let mut left: Vec<Fault> = Vec::new();
    while begin.elapsed() < time {
        // Each of them once, in another order each time.
        if left.is_empty() {
            left = FAULTS.to_vec();
            if cluster.spaces().missing().is_some() {
                left.retain(|fault| !matches!(fault, UnplugLeader | UnplugFollower));
            }
        }
        let place = random.below(left.len() as u64);
        let fault = left.swap_remove(usize::try_from(place).unwrap_or(0));
        pause(random, 300, 2000);
        let (written, read) = clients.counts();
        let seconds = begin.elapsed().as_secs();
        println!("        {seconds:4} s: {written} writes acknowledged, {read} reads; {}", fault.name());
        let made = make(fault, cluster, random);
        // Now and then the next harm comes while the cluster is busy with the last one.
        let served = made.and_then(|()| if random.below(4) == 0 { Ok(()) } else { clients.reach_the_healed() });
        served.map_err(|reason| format!("{}: {reason}", fault.name()))?;
        *harm.entry(fault.name()).or_default() += 1;
    }
    Ok(harm)
}

/// Does one thing, and undoes it.
fn make(fault: Fault, cluster: &mut Cluster, random: &mut Random) -> Outcome<()> {
    let any = usize::try_from(random.below(NODES as u64)).unwrap_or(0);
    // While there is no leader, any node will do.
    let leader = cluster.leader().unwrap_or(any);
    let follower = (leader + 1 + usize::try_from(random.below(2)).unwrap_or(0)) % NODES;
    match fault {
        KillLeader | KillFollower => {
            let number = if fault == KillLeader { leader } else { follower };
            cluster.kill(number)?;
            pause(random, 0, 3000);
            cluster.start(number)
        }
        KillAll => {
            (0..NODES).try_for_each(|number| cluster.kill(number))?;
            (0..NODES).try_for_each(|number| cluster.start(number))
        }
        SeparateLeader | SeparateFollower => {
            cluster.separate(&[if fault == SeparateLeader { leader } else { follower }])?;
            pause(random, 1000, 4000);
            cluster.heal()
        }
        UnplugLeader | UnplugFollower => {
            let number = if fault == UnplugLeader { leader } else { follower };
            cluster.spaces().plug(number, false)?;
            pause(random, 1000, 4000);
            cluster.heal()
        }
        LoseMemory => cluster.replace(any),
    }
}

/// Lets the clients work for a time between the two numbers of milliseconds.
fn pause(random: &mut Random, from: u64, to: u64) {
    std::thread::sleep(Duration::from_millis(from + random.below(to - from)));
}
