//! What passes between a service and its clients around runs: the first byte says which message it is.

use std::path::Path;
use std::time::Duration;

use blindvox_engine::Prng;
use blindvox_engine::garble::GateHash;
use blindvox_models::{Bundle, ModelCard, testing};
use blindvox_net::{Code, Refusal, local_pair};
use blindvox_protocols::cryptmed::dealer::deal;
use blindvox_protocols::cryptmed::plan::Terms;
use blindvox_protocols::infer::Observer;
use blindvox_protocols::service::dealer::Errand;
use blindvox_protocols::service::messages::{Hello, MAGIC, Reply, Request, Welcome, decode, encode};
use blindvox_protocols::service::{Accepts, Admission, DealtRequest, Host, Listed, RunRequest, Visit, serve};
use blindvox_protocols::{Error, Result};

/// The largest message of these that is read.
const MOST: usize = 300 << 10;

pub(super) fn service(bytes: &[u8]) -> bool {
    let [kind, bytes @ ..] = bytes else { return false };
    let bytes = &bytes[..bytes.len().min(MOST)];
    match kind % 8 {
        0 => decode::<Hello>(bytes, 256, "a hello").is_ok_and(|hello| hello.is_sound()),
        1 => decode::<Welcome>(bytes, 256, "a welcome").is_ok(),
        2 => decode::<Request>(bytes, 4 << 10, "a request").is_ok(),
        3 => decode::<Reply>(bytes, MOST, "a reply").is_ok(),
        4 => ModelCard::parse(bytes).is_ok(),
        6 => decode::<Errand>(bytes, 256, "an errand").is_ok(),
        7 => dealt(bytes),
        // The end of a run: the peer's word.
        _ => {
            let (mut near, mut far) = local_pair();
            far.send(bytes.to_vec()).expect("room");
            let ended = near.pause().is_ok();
            drop(far);
            ended
        }
    }
}

/// What a service says to its dealer: a hello, then a request of 16 bytes. Whether the dealer took the hello.
fn dealt(bytes: &[u8]) -> bool {
    let (mut service, to_service) = local_pair();
    let (mut client, to_client) = local_pair();
    let (hello, request) = bytes.split_at(bytes.len().saturating_sub(16));
    for message in [hello, request, b"no request"] {
        service.send(message.to_vec()).expect("room");
    }
    let reading = std::thread::spawn(move || while service.recv().is_ok() {});
    let ended = deal(to_client, to_service, &mut Prng::from_seed_for_tests([1; 32]), 24 << 20);
    assert!(ended.is_err(), "the last is no request");
    reading.join().expect("no panic");
    client.recv().is_ok()
}

/// A service of one model that runs nothing.
struct Asked(String);

impl Host for Asked {
    type Permit = ();

    fn models(&self) -> Vec<Listed> {
        vec![Listed { name: "tiny".to_owned(), digest: "0".repeat(64) }]
    }

    fn card(&self, _: &str) -> std::result::Result<String, Refusal> {
        Ok(self.0.clone())
    }

    fn admit(&self, _: &RunRequest, _: &Accepts, _: &mut dyn FnMut(u32) -> Result<()>) -> Result<Admission<()>> {
        Err(Error::Refused(Refusal::new(Code::Busy, "it runs nothing")))
    }

    fn observer(&self, _: u64) -> Box<dyn Observer + '_> {
        Box::new(())
    }

    fn ended(&self, (): (), _: Duration, _: std::result::Result<[u64; 2], &Error>) {}
}

pub(super) fn messages() -> Vec<Vec<u8>> {
    let bundle = testing::tiny().calibrate();
    let card = ModelCard::of(&bundle, &bundle.program().expect("calibrated"), "0".repeat(64));
    let card = serde_json::to_vec(&card).expect("JSON");
    let run = RunRequest { model: "tiny".to_owned(), channels: 1, grid: [8, 8, 8] };
    let requests = [Request::List, Request::Describe("tiny".to_owned()), Request::Run(run)];
    let requests = requests.map(|request| encode(&request, MOST).expect("bytes"));
    // A client's greeting, and what a service answers to that and to what it is asked.
    let (client, mut server) = local_pair();
    let accepts = Accepts::new(GateHash::default(), None, None, "1Gbit,20ms".parse().ok());
    let client = std::thread::spawn(move || Visit::begin(client, accepts).is_err());
    let hello = server.recv().expect("a hello");
    drop(server);
    assert!(client.join().expect("no panic"), "nobody answered");
    let (mut near, far) = local_pair();
    let host = Asked(String::from_utf8(card.clone()).expect("text"));
    let service = std::thread::spawn(move || serve(far, &host).is_ok());
    let asked = std::iter::once(&hello).chain(&requests[..2]);
    let answers: Vec<Vec<u8>> =
        asked.map(|message| near.send(message.clone()).and_then(|()| near.recv()).expect("an answer")).collect();
    drop(near);
    assert!(service.join().expect("no panic"), "who has all that it wanted leaves");
    let queued = encode(&Reply::Queued(3), MOST).expect("bytes");
    let (mut near, mut far) = local_pair();
    let pausing = std::thread::spawn(move || near.pause().is_ok());
    let done = far.recv().expect("the end of a run");
    far.send(done.clone()).expect("room");
    assert!(pausing.join().expect("no panic"));
    let (ticket, known) = ([7; 16], [9; 32]);
    let errands =
        [Errand::Deal { magic: MAGIC, ticket, client: known }, Errand::Take { magic: MAGIC, ticket, service: known }];
    let [order, take] = errands.map(|errand| encode(&errand, MOST).expect("bytes"));
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/models/breast_relu");
    let rows = Bundle::load(&rows).and_then(|bundle| bundle.whole_program()).expect("a network of rows");
    let agreed = |terms: Terms| blindvox_protocols::cryptmed::hello::encode(&rows, terms).expect("bytes");
    let request = [1u64, 3].map(u64::to_le_bytes).concat();
    let dealt = [Terms::LABELS, Terms::SCORES].map(|terms| [&agreed(terms)[..], &request].concat());
    let deal = DealtRequest { model: "rows".to_owned(), rows: 9, batch: 4, scores: true, paper: false };
    let deal = encode(&Request::Deal(deal), MOST).expect("bytes");
    let [list, describe, run] = requests;
    let [welcome, models, described] = answers.try_into().expect("three answers");
    let kinds = [
        (0, hello),
        (1, welcome),
        (2, list),
        (2, describe),
        (2, run),
        (3, models),
        (3, described),
        (3, queued),
        (4, card),
        (5, done),
        (6, order),
        (6, take),
        (2, deal),
    ];
    let kinds = kinds.into_iter().chain(dealt.map(|bytes| (7, bytes)));
    kinds.map(|(kind, bytes)| [&[kind][..], &bytes].concat()).collect()
}
