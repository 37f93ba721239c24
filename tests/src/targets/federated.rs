//! Messages of a federated round: their bodies and what is attached, under signatures that are right.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use blindvox_engine::{Device, Prng};
use blindvox_federated::local::{self, Federation};
use blindvox_federated::message::{self, Answer, Close, Kind, Message, Outcome, Place, Ready, Receipt, Upload};
use blindvox_federated::plan::{Averaged, Plan, Planned, SchemeKind};
use blindvox_federated::roster::{AGGREGATOR, MemberId};
use blindvox_federated::signing::Signer;

const ELEMENTS: usize = 5;
const BASE: [u8; 32] = [4; 32];

/// The kinds, in the order of the table of messages.
const KINDS: [Kind; 7] =
    [Kind::Ready, Kind::Plan, Kind::Upload, Kind::Close, Kind::Answer, Kind::Result, Kind::Receipt];

/// A federation at the end of a round, and its messages of each kind.
struct Ended {
    federation: Federation,
    /// Of the aggregator, then of the members.
    signers: Vec<Signer>,
    messages: Vec<Vec<u8>>,
}

fn ended() -> MutexGuard<'static, Ended> {
    static ENDED: OnceLock<Mutex<Ended>> = OnceLock::new();
    ENDED.get_or_init(|| Mutex::new(make())).lock().unwrap_or_else(PoisonError::into_inner)
}

fn make() -> Ended {
    let prng = || Prng::from_seed_for_tests([8; 32]);
    // The federation draws the same keys, first of all.
    let mut keys = prng();
    let signers = (0..4).map(|_| Signer::from_seed(&keys.seed())).collect();
    let mut federation = Federation::new(&["a", "b", "c"], None, &Device::cpu(), &mut prng()).expect("a federation");
    let tensors = vec![Averaged { name: "w".to_owned(), elements: ELEMENTS as u64, clip: 1.0 }];
    let wish = local::plan(SchemeKind::Rlwe, 16, BASE, tensors, 100);
    let Federation { aggregator, members, .. } = &mut federation;
    let (round, attempt) = aggregator.begin(false).expect("a round");
    let ready: Vec<_> = members.iter_mut().map(|m| m.ready(round, attempt).expect("a Ready")).collect();
    for ready in &ready {
        aggregator.ready(ready).expect("taken");
    }
    let plan = aggregator.plan(&wish).expect("a Plan");
    let update = vec![vec![0.5; ELEMENTS]];
    let mut uploads = Vec::new();
    for member in members.iter_mut() {
        let sent = member.upload(&plan, &BASE, &update, 7).expect("an Upload").message;
        aggregator.upload(&sent).expect("taken");
        uploads.push(sent);
    }
    aggregator.close().expect("enough");
    let (mut closes, mut answers) = (Vec::new(), Vec::new());
    for (id, member) in members.iter_mut().enumerate() {
        let close = aggregator.close_for(id as MemberId).expect("a Close");
        answers.push(member.answer(&close).expect("an Answer"));
        closes.push(close);
    }
    for answer in &answers {
        aggregator.answer(answer).expect("taken");
    }
    let result = aggregator.result().expect("a Result");
    let receipt = Receipt { model: [1; 32], clips: vec![0.5] };
    let place = aggregator.round().expect("a Plan").planned.place;
    let signers: Vec<Signer> = signers;
    let receipt = message::seal(&signers[1], (Kind::Receipt, place, 0), &receipt, &[]).expect("a Receipt");
    let first = |mut all: Vec<Vec<u8>>| all.swap_remove(0);
    let messages = vec![first(ready), plan, first(uploads), first(closes), first(answers), result, receipt];
    Ended { federation, signers, messages }
}

/// The kind, the body's length in two bytes, the body, and what is attached.
pub(super) fn run(bytes: &[u8]) -> bool {
    let [kind, a, b, rest @ ..] = bytes else { return false };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let (body, attached) = rest.split_at(usize::from(u16::from_le_bytes([*a, *b])).min(rest.len()));
    let ended = ended();
    let roster = &ended.federation.roster;
    let round = ended.federation.aggregator.round().expect("a Plan");
    let early = matches!(kind, Kind::Ready | Kind::Plan);
    let place = if early { Place::unplanned(roster.id(), 1, 1) } else { round.planned.place };
    let by_aggregator = matches!(kind, Kind::Plan | Kind::Close | Kind::Result);
    let from = if by_aggregator { AGGREGATOR } else { 0 };
    let signer = &ended.signers[usize::from(!by_aggregator)];
    let message = message::seal_bytes(signer, (kind, place, from), body.to_vec(), &[attached]).expect("short");
    let opened = message::open(roster, &message).expect("signed");
    match kind {
        Kind::Ready => opened.body::<Ready>(roster, kind, &place).is_ok(),
        Kind::Plan => {
            let _ = Planned::open(roster, &message, 1, 1);
            opened.body::<Plan>(roster, kind, &place).is_ok()
        }
        Kind::Upload => {
            let _ = round.upload_parts(&opened);
            opened.body::<Upload>(roster, kind, &place).is_ok()
        }
        Kind::Close => opened.body::<Close>(roster, kind, &place).is_ok_and(|body| {
            let _ = round.set(&body.uploads);
            true
        }),
        Kind::Answer => opened.body::<Answer>(roster, kind, &place).is_ok_and(|body| {
            let _ = round.answer(&opened, &body.set);
            true
        }),
        Kind::Result => {
            let mut averages = vec![vec![0.0; ELEMENTS]];
            let _ = ended.federation.members[0].open_result(&message, &mut averages);
            opened.body::<Outcome>(roster, kind, &place).is_ok()
        }
        Kind::Receipt => opened.body::<Receipt>(roster, kind, &place).is_ok(),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let ended = ended();
    let seed = |(kind, bytes): (usize, &Vec<u8>)| {
        let opened: Message<'_> = message::open(&ended.federation.roster, bytes).expect("signed");
        let body = opened.body_bytes();
        [&[kind as u8], &(body.len() as u16).to_le_bytes()[..], body, opened.attachments].concat()
    };
    ended.messages.iter().enumerate().map(seed).collect()
}
