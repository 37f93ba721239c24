//! What is done with a scan before an imported network, as far as the model alone says it.

use crate::data::prepare::{Channel, Crop, Normalise, Preparation, Window};
use crate::error::{Error, Result};
use crate::format::graph::{Graph, Layout, Op};
use crate::windows::{Blend, Positions, Sliding};

/// Adds what is not said: the grid, and without any preparation axes and normalisation, with a notice.
///
/// A network that keeps its grid at every level takes scans of any size in one pass, unless it has normalisations that
/// were fitted to windows: then in windows. Others take the grid of the file.
pub(super) fn completed(
    given: Option<&Preparation>,
    (graph, layout): (&Graph, &Layout),
    notices: &mut Vec<String>,
) -> Result<Preparation> {
    let mut preparation = match given {
        Some(preparation) => preparation.clone(),
        None => {
            notices.push(
                "preparation: not stated, so axes are turned to RAS and values normalised to mean 0 and deviation 1; say \
                 what the model was trained with in model.json or with --preparation, --monai or --nnunet"
                    .to_owned(),
            );
            default(layout.shapes[0].channels)?
        }
    };
    let said = !preparation.pad_to.is_empty() || preparation.is_of_any_size() || preparation.table.is_some();
    if said {
        return Ok(preparation);
    }
    let input = layout.shapes[0].dims;
    let native = if layout.planar { &input[1..] } else { &input[..] }.to_vec();
    let windowed = graph.nodes.iter().any(|n| matches!(n.op, Op::InstanceNorm { .. }));
    match steps(graph, layout) {
        Some(_) if windowed => preparation.window = Some(Window::Sliding(sliding(native))),
        Some(steps) => preparation.divisor = if layout.planar { steps[1..].to_vec() } else { steps.to_vec() },
        None => {
            if preparation.crop == Crop::default() {
                preparation.crop = Crop::Ends(vec![0; native.len()]);
            }
            preparation.pad_to = native;
        }
    }
    Ok(preparation)
}

/// Windows as MONAI and nnU-Net have them by default.
pub(crate) fn sliding(size: Vec<usize>) -> Sliding {
    Sliding { size, overlap: 0.5, blend: Blend::Gaussian, sigma: 0.125, grid: Positions::Monai }
}

/// Voxels of the input to one of the coarsest level, where every level divides it and scores lie on its grid.
fn steps(graph: &Graph, layout: &Layout) -> Option<[usize; 3]> {
    let input = layout.shapes[0].dims;
    let mixes = |op: &Op| matches!(op, Op::Flatten | Op::Dense { .. } | Op::GlobalAvgPool);
    if graph.nodes.iter().any(|n| mixes(&n.op)) || layout.shapes.last()?.dims != input {
        return None;
    }
    layout.shapes.iter().try_fold([1; 3], |mut steps, shape| {
        for axis in 0..3 {
            if !input[axis].is_multiple_of(shape.dims[axis]) {
                return None;
            }
            steps[axis] = steps[axis].max(input[axis] / shape.dims[axis]);
        }
        Some(steps)
    })
}

fn default(channels: usize) -> Result<Preparation> {
    let orientation = Some("RAS".parse().map_err(Error::Input)?);
    let channel = |c| Channel { name: format!("channel {c}"), normalise: Normalise::ZScore };
    Ok(match channels {
        1 => Preparation { orientation, normalise: Some(Normalise::ZScore), ..Preparation::default() },
        _ => Preparation { orientation, channels: (0..channels).map(channel).collect(), ..Preparation::default() },
    })
}
