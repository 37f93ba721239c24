//! The aggregator's connections: one thread each, which ends with it, and all of them with the run.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use blindvox_net::channel::Canceller;
use blindvox_net::identity::Pin;
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls;
use blindvox_net::{Channel, Code, Refusal};

use super::course::Course;
use super::wire::{self, Hello, Reply, Request};
use crate::error::{Error, Result};
use crate::roster::MemberId;

/// How long a member may take to greet.
const GREETING: Duration = Duration::from_secs(10);
/// How long a question waits for something to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the listener and the clock are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long the last are waited for, who don't know yet that all is over.
const FAREWELL: Duration = Duration::from_secs(30);
/// Connections beside one a member.
const SPARE: usize = 16;

/// A run and its way to members.
pub struct Host<'a> {
    /// The run.
    pub course: Course,
    /// Who the aggregator is.
    pub tls: tls::Server,
    /// Where members call.
    pub listener: TcpListener,
    /// Hears what happens, a line each.
    pub told: &'a (dyn Fn(&str) + Sync),
}

/// What connections share.
struct Shared<'a> {
    course: Mutex<Course>,
    changed: Condvar,
    /// What ended the run before its end.
    failed: Mutex<Option<Error>>,
    over: AtomicBool,
    connections: AtomicUsize,
    /// By connection.
    cancellers: Mutex<Vec<(SocketAddr, Canceller)>>,
    /// Who knows that all is over.
    farewells: Mutex<Vec<MemberId>>,
    tls: tls::Server,
    told: &'a (dyn Fn(&str) + Sync),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared<'_> {
    fn fail(&self, e: Error) {
        lock(&self.failed).get_or_insert(e);
        self.changed.notify_all();
    }

    /// Does what is due, and lets waiting members know.
    fn step(&self) {
        let mut course = lock(&self.course);
        let before = course.changes();
        match course.step() {
            Ok(None) => {}
            Ok(Some(done)) => (self.told)(&done),
            Err(e) => self.fail(e),
        }
        if course.changes() != before {
            self.changed.notify_all();
        }
    }
}

/// Serves until all rounds are over. No thread is left when it returns.
///
/// # Errors
/// [`Error::Round`] naming who is missing, or whose models differ; those of the store and of the listener.
pub fn serve(host: Host<'_>) -> Result<()> {
    let Host { course, tls, listener, told } = host;
    let broken = |e: std::io::Error| Error::Net(blindvox_net::Error::Connection(format!("listen: {e}")));
    listener.set_nonblocking(true).map_err(broken)?;
    let most = course.roster().members.len() + SPARE;
    let shared = Shared {
        course: Mutex::new(course),
        changed: Condvar::new(),
        failed: Mutex::default(),
        over: AtomicBool::new(false),
        connections: AtomicUsize::new(0),
        cancellers: Mutex::default(),
        farewells: Mutex::default(),
        tls,
        told,
    };
    thread::scope(|scope| {
        let mut done = None;
        loop {
            shared.step();
            if lock(&shared.failed).is_some() {
                break;
            }
            if let Some(last) = lock(&shared.course).last() {
                let since = *done.get_or_insert_with(Instant::now);
                let told = lock(&shared.farewells).clone();
                // Those who know hang up.
                let gone = shared.connections.load(Ordering::SeqCst) == 0;
                if last.iter().all(|id| told.contains(id)) && gone || since.elapsed() > FAREWELL {
                    break;
                }
            }
            accept(&shared, &listener, most, scope);
        }
        shared.over.store(true, Ordering::SeqCst);
        let why = lock(&shared.failed).as_ref().map(ToString::to_string);
        for (_, canceller) in lock(&shared.cancellers).drain(..) {
            match &why {
                Some(why) => canceller.refuse(Refusal::new(Code::Failure, format!("the run has ended: {why}"))),
                None => canceller.cancel(),
            }
        }
        shared.changed.notify_all();
    });
    let failed = lock(&shared.failed).take();
    failed.map_or(Ok(()), Err)
}

/// Takes who calls, for a tick.
fn accept<'scope>(shared: &'scope Shared<'_>, listener: &TcpListener, most: usize, scope: &'scope Scope<'scope, '_>) {
    match listener.accept() {
        Ok((stream, from)) => {
            if shared.connections.fetch_add(1, Ordering::SeqCst) >= most {
                shared.connections.fetch_sub(1, Ordering::SeqCst);
                (shared.told)(&format!("{from}: too many connections"));
                return;
            }
            let run = move || {
                let met = catch_unwind(AssertUnwindSafe(|| meet(shared, stream, from)));
                lock(&shared.cancellers).retain(|(other, _)| *other != from);
                shared.connections.fetch_sub(1, Ordering::SeqCst);
                match met {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) if shared.over.load(Ordering::SeqCst) => {}
                    Ok(Err(e)) => (shared.told)(&format!("{from}: {e}")),
                    Err(_) => (shared.told)(&format!("{from}: a fault of the program ended this connection")),
                }
            };
            if let Err(e) = thread::Builder::new().spawn_scoped(scope, run) {
                shared.connections.fetch_sub(1, Ordering::SeqCst);
                (shared.told)(&format!("{from}: the system refused a thread: {e}"));
            }
        }
        Err(e) => {
            if e.kind() != ErrorKind::WouldBlock {
                (shared.told)(&format!("listen: {e}"));
            }
            let course = lock(&shared.course);
            drop(shared.changed.wait_timeout(course, TICK));
        }
    }
}

/// Greets whoever has called, and answers a member until it goes.
fn meet(shared: &Shared<'_>, stream: TcpStream, from: SocketAddr) -> Result<()> {
    let broken = |e: std::io::Error| Error::Net(blindvox_net::Error::Connection(e.to_string()));
    stream.set_nonblocking(false).map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let secured = shared.tls.meet(stream, GREETING)?;
    let peer = secured.peer;
    let mut channel = Channel::tls(secured, Limits::between_hosts())?;
    let (who, name, id, rounds) = {
        let course = lock(&shared.course);
        let roster = course.roster();
        let who = roster.members.iter().position(|m| Pin::of_ed25519(&m.key.0) == peer).map(|i| i as MemberId);
        (who, who.map_or("somebody", |who| roster.name(who)).to_owned(), roster.id(), course.rounds())
    };
    let Some(who) = who else {
        let text = format!("this identity ({peer}) is not in the federation's roster");
        channel.refuse(Refusal::new(Code::UnknownClient, text.clone()));
        return Err(Error::message(text));
    };
    channel.set_timeout(GREETING);
    let hello: Hello = match wire::hear(&mut channel) {
        Err(e @ Error::Message(_)) => {
            let e = e.of(&name);
            channel.refuse(Refusal::new(Code::Request, e.to_string()));
            return Err(e);
        }
        heard => heard?,
    };
    if hello != (Hello { version: wire::VERSION, federation: id }) {
        let (code, text) = match hello.version == wire::VERSION {
            true => (Code::Request, format!("{name} has another federation.toml than the aggregator")),
            false => (Code::Versions, format!("{name} speaks version {}, expected {}", hello.version, wire::VERSION)),
        };
        channel.refuse(Refusal::new(code, text.clone()));
        return Err(Error::message(text));
    }
    channel.set_timeout(Limits::between_hosts().wait);
    wire::say(&mut channel, &Reply::Welcome { rounds })?;
    lock(&shared.cancellers).push((from, channel.canceller()));
    // Who came in while all were sent away is told here.
    let answered = match shared.over.load(Ordering::SeqCst) {
        true => Ok(()),
        false => answer(shared, &mut channel, who),
    };
    match answered {
        Err(e @ (Error::Message(_) | Error::Engine(_))) => {
            let e = e.of(&name);
            channel.refuse(Refusal::new(Code::Request, e.to_string()));
            Err(e)
        }
        // Members go when they like.
        Err(Error::Net(_)) | Ok(()) => Ok(()),
        Err(e) => {
            shared.fail(e);
            Ok(())
        }
    }
}

/// Answers a member's questions, one after the other.
fn answer(shared: &Shared<'_>, channel: &mut Channel, who: MemberId) -> Result<()> {
    loop {
        match wire::hear(channel)? {
            Request::Next => {
                let (reply, bytes) = next(shared, who)?;
                wire::say(channel, &reply)?;
                wire::send(channel, &bytes)?;
                if reply == Reply::Done {
                    let mut farewells = lock(&shared.farewells);
                    if !farewells.contains(&who) {
                        farewells.push(who);
                    }
                }
            }
            Request::Put { kind, len } => {
                let most = lock(&shared.course).most(kind);
                // What there is no Plan for, and so no length, came too late, or for another attempt.
                let bytes = wire::receive(channel, len, most.max(wire::MOST_STRAY))?;
                let reply = lock(&shared.course).put(who, kind, &bytes);
                let reply = reply?;
                shared.changed.notify_all();
                if let Reply::Refused(what) = &reply {
                    (shared.told)(what);
                }
                shared.step();
                wire::say(channel, &reply)?;
            }
            Request::Base { digest } => {
                let (reply, bytes) = lock(&shared.course).base(&digest)?;
                wire::say(channel, &reply)?;
                wire::send(channel, &bytes)?;
            }
            Request::Status => {
                let status = lock(&shared.course).status();
                wire::say(channel, &Reply::Status(status))?;
            }
        }
    }
}

/// What a member is to do, once there is something that it doesn't know.
fn next(shared: &Shared<'_>, who: MemberId) -> Result<super::course::Task> {
    let begun = Instant::now();
    let mut course = lock(&shared.course);
    loop {
        let gone = shared.over.load(Ordering::SeqCst) || lock(&shared.failed).is_some();
        if let Some(task) = course.task(who)? {
            return Ok(task);
        }
        let left = PATIENCE.saturating_sub(begun.elapsed());
        if left.is_zero() || gone {
            return Ok((Reply::Wait, Vec::new()));
        }
        (course, _) = shared.changed.wait_timeout(course, left).unwrap_or_else(PoisonError::into_inner);
    }
}
