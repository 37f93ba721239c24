//! What one client gets: its models, its runs, and what is written down of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blindvox_engine::Device;
use blindvox_net::identity::Pin;
use blindvox_net::{Code, Refusal};
use blindvox_protocols::infer::{Comparison, Observer, Options, Outcome, choice};
use blindvox_protocols::service::{Accepts, Admission, Host, Listed, RunRequest};
use blindvox_protocols::{Error, Result};

use super::admission::Place;
use super::audit::Record;
use super::clients::Client;
use super::connections::Service;
use super::models::Served;

/// One client's connection.
pub struct Guest<'a> {
    pub service: &'a Service,
    pub client: Client,
    pub pin: Pin,
}

/// What a run holds.
pub struct Permit<'a> {
    _place: Place,
    _counted: Counted<'a>,
    record: Record,
    model: &'a Served,
}

/// A run that counts against its client's quotas.
struct Counted<'a>(&'a Guest<'a>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.service.clients.end(&self.0.client);
    }
}

impl Guest<'_> {
    fn model(&self, name: &str) -> std::result::Result<&Served, Refusal> {
        let mine = || self.service.models.iter().filter(|m| self.client.may(&m.name));
        // A service of one model needs no name.
        let found =
            if name.is_empty() && mine().count() == 1 { mine().next() } else { mine().find(|m| m.name == name) };
        found.ok_or_else(|| {
            let names: Vec<_> = mine().map(|m| m.name.as_str()).collect();
            let name: String = name.chars().take(64).collect();
            Refusal::new(
                Code::NoSuchModel,
                format!("model {name:?}: not served to this client, which may ask for: {}", names.join(", ")),
            )
        })
    }

    /// How a run is made, among what the client accepts.
    fn options(&self, model: &Served, accepts: &Accepts) -> Result<Options> {
        let refuse = |what: &str| Error::Refused(Refusal::new(Code::Choices, what));
        let mut options = Options::new(Device::cpu());
        options.gate_hash =
            accepts.gate_hashes().next().ok_or_else(|| refuse("no gate hash of this client's is known here"))?;
        options.ways.ot = accepts.ot();
        let offered: Vec<Comparison> = accepts.comparisons().collect();
        let suits = choice::comparison(&model.program, &model.plans, &options.ways, accepts.link())?;
        let first = offered.first().ok_or_else(|| refuse("no comparison of this client's is known here"))?;
        options.ways.compare = if offered.contains(&suits) { suits } else { *first };
        Ok(options)
    }
}

fn name(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::SignSelect => "sign-select",
        Comparison::FullCircuit => "full-circuit",
        Comparison::Transfers => "transfers",
    }
}

impl<'a> Host for &'a Guest<'a> {
    type Permit = Permit<'a>;

    fn models(&self) -> Vec<Listed> {
        let mine = self.service.models.iter().filter(|m| self.client.may(&m.name));
        mine.map(|m| Listed { name: m.name.clone(), digest: m.digest.clone() }).collect()
    }

    fn card(&self, model: &str) -> std::result::Result<String, Refusal> {
        Ok(self.model(model)?.card.clone())
    }

    fn admit(
        &self,
        request: &RunRequest,
        accepts: &Accepts,
        queued: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<Admission<Permit<'a>>> {
        let guest: &'a Guest<'a> = self;
        let model = guest.model(&request.model).map_err(Error::Refused)?;
        let input = &model.program.tensors[model.program.input];
        let [d, h, w] = request.grid;
        let asked = (request.channels as usize, request.grid.map(|d| d as usize));
        if asked != (input.channels, input.dims) {
            let [a, b, c] = input.dims;
            let text = format!(
                "model {:?}: found {} channels of {d}x{h}x{w}, it takes {} of {a}x{b}x{c}",
                model.name, asked.0, input.channels
            );
            return Err(Error::Refused(Refusal::new(Code::Request, text)));
        }
        let options = guest.options(model, accepts)?;
        let told = |e: &Error| guest.service.log("clients", &e.to_string());
        guest.service.clients.begin(&guest.client, &told).map_err(Error::Refused)?;
        let counted = Counted(guest);
        let what = format!("model {:?}: {d}x{h}x{w} voxels", model.name);
        let place = guest.service.places.enter(&what, model.memory, queued)?;
        let run = guest.service.next_run();
        let record = Record {
            run,
            client: guest.client.name.clone(),
            pin: guest.pin.to_string(),
            model: model.name.clone(),
            digest: model.digest.clone(),
            grid: request.grid,
            comparison: name(options.ways.compare).to_owned(),
            ot: options.ways.ot.name().to_owned(),
            ..Record::default()
        };
        guest.service.log("run", &format!("{run} begins: client {:?}, model {:?}", record.client, record.model));
        let permit = Permit { _place: place, _counted: counted, record, model };
        Ok(Admission { run, program: model.program.clone(), options, permit })
    }

    fn observer(&self, _: u64) -> Box<dyn Observer + '_> {
        Box::new(())
    }

    fn ended(&self, permit: Permit<'a>, seconds: Duration, outcome: std::result::Result<&Outcome, &Error>) {
        let Permit { _place, _counted, mut record, model } = permit;
        record.time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        record.seconds = seconds.as_secs_f64();
        record.outcome = match outcome {
            Ok(outcome) => {
                let costs = || outcome.preparation.iter().chain(&outcome.steps);
                record.bytes_sent = costs().map(|c| c.traffic.sent).sum();
                record.bytes_received = costs().map(|c| c.traffic.received).sum();
                "done".to_owned()
            }
            Err(Error::Cancelled) => "cancelled".to_owned(),
            Err(Error::Connection(_)) => "connection".to_owned(),
            Err(Error::Refused(refusal)) => refusal.code.name().to_owned(),
            Err(Error::Protocol(_)) => "protocol".to_owned(),
            Err(_) => "failure".to_owned(),
        };
        // A run that ended early may have had all replies: the whole of them counts.
        record.reply_coefficients = model.coefficients;
        let metrics = &self.service.metrics;
        metrics.run(&record.model, &record.outcome, record.seconds, [record.bytes_received, record.bytes_sent]);
        metrics.coefficients(&record.client, record.reply_coefficients);
        let end = outcome.err().map_or_else(String::new, |e| format!(" ({e})"));
        self.service.log("run", &format!("{}: {} after {:.1} s{end}", record.run, record.outcome, record.seconds));
        if let Some(audit) = &self.service.audit
            && let Err(e) = audit.append(&record)
        {
            self.service.log("audit", &e.to_string());
        }
    }
}

/// What ended a connection, for the log and the counters.
pub fn account(service: &Service, who: &str, ended: &Result<()>) {
    match ended {
        Ok(()) => {}
        Err(Error::Refused(refusal)) => {
            service.metrics.refused(refusal.code);
            service.log("refused", &format!("{who}: {}", refusal.text));
        }
        Err(e) => service.log("connection", &format!("{who}: {e}")),
    }
}
