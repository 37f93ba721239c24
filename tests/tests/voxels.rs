//! A network that labels single voxels of the Decathlon's hippocampi by what lies around them, trained by three hospitals
//! with two volumes each: under every scheme the same model to the bit, and on two volumes that nobody trained on no worse
//! than the hospitals' own on average.

use blindvox_engine::{Device, Prng};
use blindvox_federated::demo::network::Network;
use blindvox_federated::demo::table::Row;
use blindvox_federated::local::{self, Contribution, Federation};
use blindvox_federated::message::hash;
use blindvox_federated::model::{Difference, Model};
use blindvox_federated::plan::SchemeKind;
use blindvox_federated::scheme::paillier::dealer::insecure_for_tests;
use blindvox_models::data::dice::dice;
use blindvox_models::data::labels::LabelMap;
use blindvox_models::data::nifti::Volume;
use blindvox_tests::{VOLUMES, decathlon};

/// 79 intensities and 6 numbers of place in, background and the hippocampus's two parts out.
const WIDTHS: [usize; 4] = [85, 64, 32, 3];
/// Steps to the neighbours in voxels: 27 next to the voxel, then 26 twice and 26 four times as far.
const REACH: [isize; 3] = [1, 2, 4];
const CLASSES: usize = 3;

/// A scan with comparable intensities, and its true labels.
struct Labelled {
    dims: [usize; 3],
    intensities: Vec<f32>,
    labels: Vec<u8>,
}

impl Labelled {
    fn load(number: &str) -> Option<Self> {
        let (folder, file) = (decathlon()?, format!("hippocampus_{number}.nii.gz"));
        let scan = Volume::load(&folder.join("images").join(&file)).unwrap();
        let labels = LabelMap::load(&folder.join("labels").join(&file)).unwrap().onto(&scan).unwrap().data;
        let count = scan.data.len() as f64;
        let mean = scan.data.iter().sum::<f64>() / count;
        let deviation = (scan.data.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
        let intensities = scan.data.iter().map(|x| ((x - mean) / deviation) as f32).collect();
        Some(Self { dims: scan.dims, intensities, labels })
    }

    /// What the network sees of a voxel, and its class.
    fn row(&self, voxel: usize) -> Row {
        let [_, h, w] = self.dims;
        let at = [voxel / (h * w), voxel / w % h, voxel % w];
        let intensity = |step: [isize; 3]| {
            let place = |axis: usize| (at[axis] as isize + step[axis]).clamp(0, self.dims[axis] as isize - 1) as usize;
            self.intensities[(place(0) * h + place(1)) * w + place(2)]
        };
        let mut features = vec![intensity([0; 3])];
        for reach in REACH {
            for i in (0..27).filter(|i| *i != 13) {
                features.push(intensity([i / 9, i / 3 % 3, i % 3].map(|k| (k - 1) * reach)));
            }
        }
        let places = [0, 1, 2].map(|axis| at[axis] as f32 / self.dims[axis] as f32 * 2.0 - 1.0);
        features.extend(places.iter().copied().chain(places.iter().map(|x| x * x)));
        Row { features, class: usize::from(self.labels[voxel]) }
    }

    /// Every sixth voxel of the hippocampus, every 24th of what is around it.
    fn rows(&self) -> impl Iterator<Item = Row> {
        let taken = |(i, label): &(usize, &u8)| i % if **label > 0 { 6 } else { 24 } == 0;
        self.labels.iter().enumerate().filter(taken).map(|(i, _)| self.row(i))
    }

    /// Dice of both parts.
    fn score(&self, network: &Network) -> Vec<f64> {
        let labels: Vec<u8> = (0..self.labels.len()).map(|i| network.class(&self.row(i).features) as u8).collect();
        dice(&labels, &self.labels, CLASSES)
    }
}

fn start() -> Network {
    Network::new(&WIDTHS, &mut Prng::from_seed_for_tests([1; 32]))
}

fn training(hospital: usize, round: usize) -> Prng {
    let mut seed = [2; 32];
    (seed[0], seed[1]) = (hospital as u8, round as u8);
    Prng::from_seed_for_tests(seed)
}

#[test]
fn hospitals_train_a_network_of_voxels_together() {
    let rounds: usize = std::env::var("BLINDVOX_VOXEL_ROUNDS").map_or(4, |n| n.parse().expect("a number"));
    let Some(volumes) = VOLUMES.into_iter().map(Labelled::load).collect::<Option<Vec<_>>>() else { return };
    let (held_out, training_volumes) = volumes.split_at(2);
    let hospitals: Vec<Vec<Row>> =
        training_volumes.chunks(2).map(|pair| pair.iter().flat_map(Labelled::rows).collect()).collect();
    assert_eq!((hospitals.len(), hospitals[0][0].features.len()), (3, WIDTHS[0]));
    let mut prng = Prng::from_seed_for_tests([3; 32]);
    let names = ["north", "south", "west"];
    let dealt = insecure_for_tests(0, 2, 3, &mut prng).unwrap();
    let paillier = SchemeKind::Paillier(hash(&dealt.0.to_bytes()));
    let mut federations = vec![
        (SchemeKind::Plain, Federation::new(&names, None, &Device::cpu(), &mut prng).unwrap()),
        (SchemeKind::Rlwe, Federation::new(&names, None, &Device::cpu(), &mut prng).unwrap()),
        (paillier, Federation::dealt(&names, &Device::cpu(), dealt.0, dealt.1, &mut prng).unwrap()),
    ];
    let mut model = Model::from_bytes(start().to_file(None).unwrap(), "the model").unwrap();
    assert_eq!(model.layout(1.0).iter().map(|t| t.elements).sum::<u64>(), 7683);
    let mut tensors = model.layout(0.5);
    let mut alone: Vec<Network> = names.iter().map(|_| start()).collect();
    for round in 0..rounds {
        let train = |(i, rows): (usize, &Vec<Row>)| {
            let mut network = start();
            network.read(model.bytes()).unwrap();
            network.train(rows, 1, &mut training(i, round));
            Model::from_bytes(network.to_file(Some(rows.len())).unwrap(), "a local model").unwrap()
        };
        let locals: Vec<Model> = hospitals.iter().enumerate().map(train).collect();
        for (i, network) in alone.iter_mut().enumerate() {
            network.train(&hospitals[i], 1, &mut training(i, round));
        }
        let base = model.clone();
        let updates: Vec<_> = locals.iter().map(|local| Difference::new(&base, local).unwrap()).collect();
        let brought: Vec<_> = updates
            .iter()
            .zip(&locals)
            .map(|(update, local)| Contribution { update, examples: local.examples().unwrap() })
            .collect();
        let mut models = Vec::new();
        let mut clips = Vec::new();
        for (scheme, federation) in &mut federations {
            let plan = local::plan(*scheme, 16, base.digest(), tensors.clone(), 1 << 14);
            let mut averaged = base.clone();
            let done = federation.round(&plan, &brought, &mut averaged).unwrap();
            federation.finish(averaged.digest(), &done.opened).unwrap();
            clips = done.opened.clips;
            models.push(averaged);
        }
        assert!(models.iter().all(|m| m.bytes() == models[0].bytes()), "round {round}");
        model = models.swap_remove(0);
        tensors.iter_mut().zip(&clips).for_each(|(tensor, clip)| tensor.clip = *clip);
    }
    let mut together = start();
    together.read(model.bytes()).unwrap();
    let score = |network: &Network| -> Vec<f64> { held_out.iter().flat_map(|volume| volume.score(network)).collect() };
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    let ours = score(&together);
    let own: Vec<f64> = alone.iter().map(|network| mean(&score(network))).collect();
    println!("{rounds} rounds: Dice {ours:.3?} together, means {own:.3?} alone");
    assert!(mean(&ours) > 0.6 && mean(&ours) > mean(&own) - 0.02, "{ours:?} together, {own:?} alone");
}
