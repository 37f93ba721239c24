//! Whole runs.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Cast, Death, Moves, Stage, alone, model};
use blindvox_engine::{Device, Prng};
use blindvox_federated::audit::Log;
use blindvox_federated::local::{Contribution, Federation};
use blindvox_federated::model::{Difference, Model};
use blindvox_federated::net::caller::{Trainer, Training};
use blindvox_federated::plan::Plan;

/// The model of the same rounds in one process.
fn in_one_process(rounds: u32) -> Model {
    let plan = Stage::new(Cast::new(3, false), rounds).plan();
    let mut federation =
        Federation::new(&["h0", "h1", "h2"], None, &Device::cpu(), &mut Prng::from_seed_for_tests([1; 32])).unwrap();
    let (mut model, mut tensors) = (model(), plan.tensors.clone());
    for round in 1..=rounds {
        let base = model.clone();
        let train = |i: u32| Moves(i).train(&Training { round, rounds, base: &base }).unwrap().unwrap();
        let trained = [0, 1, 2].map(train);
        let updates = trained.each_ref().map(|t| Difference::new(&base, &t.model).unwrap());
        let brought: Vec<_> =
            updates.iter().zip(&trained).map(|(update, t)| Contribution { update, examples: t.examples }).collect();
        let plan = Plan { base: base.digest(), tensors: tensors.clone(), ..plan.clone() };
        let done = federation.round(&plan, &brought, &mut model).unwrap();
        federation.finish(model.digest(), &done.opened).unwrap();
        tensors.iter_mut().zip(&done.opened.clips).for_each(|(tensor, clip)| tensor.clip = *clip);
    }
    model
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
fn every_scheme_ends_in_the_model_of_one_process_and_no_thread_is_left() {
    let _alone = alone();
    let expected = in_one_process(2);
    for cast in [Cast::new(3, false), Cast::new(3, true), Cast::new(3, false).plain()] {
        let stage = Stage::new(cast, 2);
        // The pool's threads stay.
        let before = threads();
        assert_eq!(stage.agreed().bytes(), expected.bytes());
        let begun = Instant::now();
        while threads() > before && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(threads() <= before, "{} threads, {before} before", threads());
        // All logs are signed, and agree.
        let roster = &stage.cast.roster;
        let logs: Vec<Log> = (0..4).map(|i| Log::read(roster, &stage.log(i)).unwrap()).collect();
        assert_eq!(logs[0].lines, 2 * 5);
        for (i, log) in logs.iter().enumerate() {
            assert_eq!(roster.name(log.of), ["sum", "h0", "h1", "h2"][i]);
            logs[..i].iter().for_each(|other| assert!(log.compare(other, roster).unwrap() >= 6));
        }
    }
}

/// Each write of each party is once the last before its death and once the one that death prevents: some of them in every
/// run, all of them with `BLINDVOX_KILLS=1`.
#[test]
fn killing_any_party_ends_in_the_same_model() {
    let _alone = alone();
    let stride = std::env::var("BLINDVOX_KILLS").map_or(9, |n| n.parse().expect("a stride"));
    let expected = in_one_process(1);
    let whole = Stage::new(Cast::new(3, false), 1);
    whole.agreed();
    let writes = whole.death.writes();
    assert!(writes > 30, "{writes} writes");
    for (kill, write) in (0..2 * writes).step_by(stride).enumerate() {
        let paillier = kill % 2 == 1;
        let death = Arc::new(Death::at(write / 2, write % 2 == 1));
        let stage = Stage { death, ..Stage::new(Cast::new(3, paillier), 1) };
        assert_eq!(stage.agreed().bytes(), expected.bytes(), "write {write}");
    }
}

/// A relay that cuts each connection after some bytes, later and later.
fn cutting(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (Ok(from), Ok(to)) = (stream, TcpStream::connect(to)) else { return };
            let budget = (700.0 * 1.3f64.powi(number as i32)) as usize;
            for (mut from, mut to) in
                [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to.try_clone().unwrap(), from)]
            {
                thread::spawn(move || {
                    let (mut buffer, mut left) = ([0; 512], budget);
                    while let Ok(n @ 1..) = from.read(&mut buffer) {
                        let n = n.min(left);
                        left -= n;
                        if to.write_all(&buffer[..n]).is_err() || left == 0 {
                            break;
                        }
                    }
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    address
}

#[test]
fn cutting_connections_ends_in_the_same_model() {
    let _alone = alone();
    let stage = Stage::new(Cast::new(3, false), 1);
    let (models, ended) = stage.run(cutting);
    ended.unwrap();
    let expected = in_one_process(1);
    models.into_iter().for_each(|model| assert_eq!(model.unwrap().bytes(), expected.bytes()));
}

#[test]
fn who_stays_away_costs_time_alone() {
    let _alone = alone();
    let timeout = Duration::from_secs(2);
    let stage = Stage { timeout, present: vec![0, 1, 3], ..Stage::new(Cast::new(4, false), 1) };
    stage.agreed();
    assert!(stage.log(0).contains("\"members\":[\"h0\",\"h1\",\"h3\"]"), "{}", stage.log(0));
}
