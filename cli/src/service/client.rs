//! What one client gets: its models, its runs, and what is written down of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blindvox_engine::Device;
use blindvox_net::identity::Pin;
use blindvox_net::{Code, Refusal};
use blindvox_protocols::cryptmed::memory::memory;
use blindvox_protocols::cryptmed::plan::{Plan, Preset::Paper as Published};
use blindvox_protocols::infer::{Comparison, Observer, Options, Ways, choice};
use blindvox_protocols::service::{Accepts, Admission, DealtAdmission, DealtRequest, Host, Listed, RunRequest, Start};
use blindvox_protocols::{Error, Result};

use super::admission::{Place, gib};
use super::audit::Record;
use super::clients::Client;
use super::config::Preset;
use super::models::{Job, Served};
use super::state::Service;

/// One client's connection.
pub(crate) struct Guest<'a> {
    pub service: &'a Service,
    pub client: Client,
    pub pin: Pin,
}

/// What a run holds.
pub(crate) struct Permit<'a> {
    _place: Place,
    _counted: Counted<'a>,
    record: Record,
    coefficients: u64,
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

    /// Whether a request may be looked at more closely, which takes time.
    fn shape(&self, model: &Served, request: &RunRequest) -> Result<()> {
        let refuse =
            |code, text: String| Err(Error::Refused(Refusal::new(code, format!("model {:?}: {text}", model.name))));
        let (channels, [a, b, c]) = (model.own.program.channels(), model.own.grid());
        let [d, h, w] = request.grid;
        let grid = request.grid.map(|d| d as usize);
        let fixed = request.grid.contains(&0) || grid != model.own.grid() && !model.takes(grid);
        if request.channels as usize != channels || fixed {
            let found = request.channels;
            return refuse(
                Code::Request,
                format!("found {found} channels of {d}x{h}x{w}, it takes {channels} of {a}x{b}x{c}"),
            );
        }
        // No run takes less than its input's shares.
        let least = request.grid.iter().try_fold(4 * u64::from(request.channels), |n, &d| n.checked_mul(d.into()));
        let given = self.service.config.memory;
        if least.is_none_or(|least| least > given) {
            let given = gib(given);
            let text = format!(
                "{d}x{h}x{w} voxels need more than the {given} that the service gives; a smaller grid would fit"
            );
            return refuse(Code::TooLarge, text);
        }
        Ok(())
    }

    /// A run that counts from now on.
    fn counted(&self) -> Result<Counted<'_>> {
        let told = |e: &Error| self.service.log("clients", &e.to_string());
        self.service.clients.begin(&self.client, &told).map_err(Error::Refused)?;
        Ok(Counted(self))
    }

    /// A run's number and what is written down of it.
    fn begun(&self, model: &Served, grid: [u32; 3]) -> (u64, Record) {
        let run = self.service.next_run();
        let (client, pin) = (self.client.name.clone(), self.pin.to_string());
        self.service.log("run", &format!("{run} begins: client {client:?}, model {:?}", model.name));
        let (model, digest) = (model.name.clone(), model.digest.clone());
        (run, Record { run, client, pin, model, digest, grid, ..Record::default() })
    }

    fn job(&self, model: &Served, grid: [u32; 3]) -> Result<Arc<Job>> {
        model.job(grid.map(|d| d as usize)).map_err(|e| {
            // What is wrong may name files of this host.
            self.service.log("run", &format!("model {:?}: {e}", model.name));
            let ([d, h, w], [a, b, c]) = (grid, model.own.grid());
            let text =
                format!("model {:?}: a grid of {d}x{h}x{w} is none that it takes (its own is {a}x{b}x{c})", model.name);
            Error::Refused(Refusal::new(Code::Request, text))
        })
    }

    /// How a run is made, among what the client accepts and the model's presets let.
    fn options(&self, model: &Served, job: &Job, accepts: &Accepts) -> Result<Options> {
        let refuse = |what: &str| Error::Refused(Refusal::new(Code::Choices, what));
        let mut options = Options::new(Device::cpu());
        options.gate_hash =
            accepts.gate_hashes().next().ok_or_else(|| refuse("no gate hash of this client's is known here"))?;
        let base = options.ways;
        let preset = |c: &Comparison| if model.rows.is_some() { Preset::Silent } else { Preset::of(*c) };
        let comparisons: Vec<_> = accepts.comparisons().filter(|c| model.presets.contains(&preset(c))).collect();
        let ways: Vec<Ways> = comparisons
            .into_iter()
            .flat_map(|compare| accepts.sources().map(move |ot| Ways { compare, ot, ..base }))
            .collect();
        let first =
            *ways.first().ok_or_else(|| refuse("no comparison that this client accepts is made for this model"))?;
        options.ways = match accepts.link() {
            Some(link) => choice::fastest(&job.program, &job.plans, ways, link)?,
            None => first,
        };
        Ok(options)
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
        guest.shape(model, request)?;
        model.runs_without_dealer().map_err(|e| {
            Error::Refused(Refusal::new(Code::Choices, format!("model {:?}: {e} (--preset dealer)", model.name)))
        })?;
        let counted = guest.counted()?;
        let job = guest.job(model, request.grid)?;
        let options = guest.options(model, &job, accepts)?;
        let [d, h, w] = request.grid;
        let what = format!("model {:?}: {d}x{h}x{w} voxels", model.name);
        let place = guest.service.places.enter(&what, job.memory, queued)?;
        let (run, mut record) = guest.begun(model, request.grid);
        record.comparison = options.ways.compare.name().to_owned();
        record.ot = options.ways.ot.name().to_owned();
        let program = job.program.clone();
        let permit = Permit { _place: place, _counted: counted, record, coefficients: job.coefficients };
        Ok(Admission { run, program, options, permit })
    }

    fn admit_dealt(
        &self,
        request: &DealtRequest,
        queued: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<DealtAdmission<Permit<'a>>> {
        let guest: &'a Guest<'a> = self;
        let model = guest.model(&request.model).map_err(Error::Refused)?;
        let dealer = guest.dealer()?;
        let (program, terms) = guest.terms(model, request)?;
        let counted = guest.counted()?;
        let [_, bytes, _] = memory(&Plan::new(&program, request.batch as usize, terms)?);
        let what = format!("model {:?}: {} rows at once", model.name, request.batch);
        let place = guest.service.places.enter(&what, bytes, queued)?;
        let (dealer, ticket) = guest.ordered(&dealer)?;
        let (run, mut record) = guest.begun(model, [1, 1, request.rows]);
        record.comparison = if terms.preset == Published { "paper" } else { "dealer" }.to_owned();
        let permit = Permit { _place: place, _counted: counted, record, coefficients: 0 };
        Ok(DealtAdmission { start: Start { run, program, terms, dealer, ticket }, permit })
    }

    fn observer(&self, _: u64) -> Box<dyn Observer + '_> {
        Box::new(())
    }

    fn ended(&self, permit: Permit<'a>, seconds: Duration, outcome: std::result::Result<[u64; 2], &Error>) {
        let Permit { _place, _counted, mut record, coefficients } = permit;
        record.time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        record.seconds = seconds.as_secs_f64();
        record.outcome = match outcome {
            Ok(bytes) => {
                [record.bytes_sent, record.bytes_received] = bytes;
                "done".to_owned()
            }
            Err(Error::Cancelled) => "cancelled".to_owned(),
            Err(Error::Connection(_)) => "connection".to_owned(),
            Err(Error::Refused(refusal)) => refusal.code.name().to_owned(),
            Err(Error::Protocol(_)) => "protocol".to_owned(),
            Err(_) => "failure".to_owned(),
        };
        // A run that ended early may have had all replies: the whole of them counts.
        record.reply_coefficients = coefficients;
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
pub(crate) fn account(service: &Service, who: &str, ended: &Result<()>) {
    match ended {
        Ok(()) => {}
        Err(Error::Refused(refusal)) => {
            service.metrics.refused(refusal.code);
            service.log("refused", &format!("{who}: {}", refusal.text));
        }
        Err(e) => service.log("connection", &format!("{who}: {e}")),
    }
}
