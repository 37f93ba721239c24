//! What the server tells the client of its model: shapes, scales and shifts, no weights.
//!
//! The message comes from a peer, so everything in it is checked before anything is computed or allocated
//! from it: indices, shapes against the steps that make them, and sizes against [`MAX_ELEMENTS`].

use blindvox_models::format::graph::MAX_KERNEL;
use blindvox_models::integers::program::{MAX_STEPS, MAX_TOTAL_ELEMENTS};
use blindvox_models::integers::scales::{MAX_LINEAR_SHIFT, MAX_SQUARE_SHIFT};
use blindvox_models::windows::{MAX_SUM_BITS, Windows};
use blindvox_models::{Interpolation, Linear, LinearKind, Program, Step, TensorId, TensorInfo};

use crate::error::{Error, Result};

/// The most elements a tensor may have (1 GiB of shares).
pub const MAX_ELEMENTS: usize = 1 << 28;

/// The most channels a tensor, or what a layer reads, may have: as in a bundle.
pub const MAX_CHANNELS: usize = blindvox_models::format::graph::MAX_CHANNELS;

/// The largest window of a maximum, in elements: as in a bundle.
pub const MAX_WINDOW: usize = blindvox_models::format::graph::MAX_WINDOW;

/// The longest name of a layer, in bytes.
pub const MAX_NAME: usize = 256;

/// Widths that comparisons support.
pub const COMPARE_BITS: std::ops::RangeInclusive<u32> = 2..=32;

/// Encodes the public part of a program.
pub fn encode(program: &Program) -> Result<Vec<u8>> {
    postcard::to_allocvec(&program.public_view()).map_err(|e| Error::Model(format!("architecture: {e}")))
}

/// Decodes and checks what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Program> {
    let (program, rest): (Program, _) = postcard::take_from_bytes(bytes)
        .map_err(|e| Error::protocol(format!("the architecture does not decode: {e}")))?;
    if !rest.is_empty() {
        return Err(Error::protocol(format!("{} bytes after the architecture", rest.len())));
    }
    check(&program)?;
    let bare = |step: &Step| match step {
        Step::Linear(l) => l.weights.is_empty() && l.bias.is_empty() && l.bias_map.is_none(),
        _ => true,
    };
    if !program.steps.iter().all(bare) {
        return Err(Error::protocol("architecture: it holds weights, expected none"));
    }
    Ok(program)
}

/// Checks that a program is consistent, so that its execution can trust every shape and index.
pub fn check(program: &Program) -> Result<()> {
    let wrong = |what: String| Err(Error::protocol(format!("architecture: {what}")));
    if program.tensors.len() > MAX_STEPS || program.steps.is_empty() || program.steps.len() > MAX_STEPS {
        return wrong(format!("{} tensors and {} steps", program.tensors.len(), program.steps.len()));
    }
    for tensor in &program.tensors {
        let elements = tensor.dims.iter().try_fold(tensor.channels, |product, &d| product.checked_mul(d));
        let few = tensor.channels <= MAX_CHANNELS;
        if !few || !matches!(elements, Some(1..=MAX_ELEMENTS)) || !(2..=32).contains(&tensor.bits) {
            return wrong(format!(
                "tensor {:?}: {} channels of {:?}, {} bits",
                tensor.name, tensor.channels, tensor.dims, tensor.bits
            ));
        }
    }
    let names = program.tensors.iter().map(|t| t.name.as_str()).chain(program.steps.iter().map(Step::name));
    if let Some(name) = names.into_iter().find(|n| n.len() > MAX_NAME || n.chars().any(char::is_control)) {
        let shown: String = name.chars().take(40).collect();
        return wrong(format!(
            "the name {shown:?}: expected at most {MAX_NAME} bytes, none of them control characters"
        ));
    }
    let total: usize = program.tensors.iter().map(TensorInfo::elements).sum();
    if total > MAX_TOTAL_ELEMENTS {
        return wrong(format!("{total} elements in all tensors, at most {MAX_TOTAL_ELEMENTS} are possible"));
    }
    let (mut written, mut squared) = (vec![false; program.tensors.len()], vec![false; program.tensors.len()]);
    let input = written.get_mut(program.input).ok_or_else(|| Error::protocol("architecture: no such input tensor"))?;
    *input = true;
    for (at, step) in program.steps.iter().enumerate() {
        if step.inputs().is_empty() || step.inputs().iter().any(|&t| !written.get(t).copied().unwrap_or(false)) {
            return wrong(format!("step {:?} reads a tensor that is not written before it", step.name()));
        }
        if step.output().is_some_and(|t| written.get(t).copied().unwrap_or(true)) {
            return wrong(format!("step {:?} writes a tensor that is absent or written already", step.name()));
        }
        if step.output().is_none() != (at + 1 == program.steps.len()) {
            return wrong(format!("step {:?}: what gives labels must be the last step and the only one", step.name()));
        }
        if !shapes_agree(program, step) {
            return wrong(format!("step {:?}: its shapes or widths do not agree", step.name()));
        }
        step.output().into_iter().for_each(|t| written[t] = true);
        if let Step::Square { input, .. } = step
            && std::mem::replace(&mut squared[*input], true)
        {
            return wrong(format!("step {:?} squares a tensor that is squared already", step.name()));
        }
    }
    match program.tensors.get(program.logits) {
        Some(logits) if logits.channels == program.classes && (1..=256).contains(&program.classes) => Ok(()),
        _ => wrong(format!("{} classes do not match the logits", program.classes)),
    }
}

/// Refuses steps that only runs with a dealer have.
pub fn runs_without_dealer(program: &Program) -> Result<()> {
    let step = program.steps.iter().find(|s| matches!(s, Step::Activation { .. } | Step::MinPool { .. }));
    step.map_or(Ok(()), |step| Err(needs_dealer(step)))
}

pub(super) fn needs_dealer(step: &Step) -> Error {
    let (name, kind) = (step.name(), step.kind());
    Error::Model(format!("layer {name:?}: found {kind}, which runs with a dealer alone (`blindvox predict --dealer`)"))
}

fn shapes_agree(program: &Program, step: &Step) -> bool {
    let shape = |t: TensorId| (program.tensors[t].channels, program.tensors[t].dims);
    let divided = |(channels, dims): (usize, [usize; 3]), window: &[usize; 3]| {
        let fits = dims.iter().zip(window).all(|(d, w)| *w > 0 && d % w == 0);
        fits.then(|| (channels, std::array::from_fn(|i| dims[i] / window[i])))
    };
    match step {
        Step::Linear(linear) => linear_agrees(program, linear),
        Step::Square { input, output, shift, .. } => shape(*input) == shape(*output) && *shift <= MAX_SQUARE_SHIFT,
        Step::Relu { input, output, bits, .. } => shape(*input) == shape(*output) && COMPARE_BITS.contains(bits),
        Step::MaxPool { input, output, window, bits, .. } => {
            // A window that divides its tensor has a product in range.
            divided(shape(*input), window) == Some(shape(*output))
                && window.iter().product::<usize>() <= MAX_WINDOW
                && COMPARE_BITS.contains(bits)
        }
        Step::AvgPool { input, output, window, .. } => divided(shape(*input), window) == Some(shape(*output)),
        Step::Interleave { input, output, factor, .. } => {
            let ((parts, coarse), (channels, fine)) = (shape(*input), shape(*output));
            factor.iter().all(|f| (1..=MAX_KERNEL).contains(f))
                && channels.checked_mul(factor.iter().product()) == Some(parts)
                && (0..3).all(|i| fine[i] > 0 && fine[i].div_ceil(factor[i]) == coarse[i])
        }
        Step::Resize { input, output, factor, mode, .. } => {
            let ((channels, coarse), fine) = (shape(*input), shape(*output));
            let most = if *mode == Interpolation::Linear { 2 } else { MAX_KERNEL };
            factor.iter().all(|f| (1..=most).contains(f))
                && channels == fine.0
                && (0..3).all(|i| coarse[i].checked_mul(factor[i]) == Some(fine.1[i]))
        }
        Step::MinPool { input, output, window, .. } => {
            divided(shape(*input), window) == Some(shape(*output)) && window.iter().product::<usize>() <= MAX_WINDOW
        }
        Step::Activation { input, output, pieces, .. } => {
            shape(*input) == shape(*output) && pieces.is_sound(program.tensors[*input].limit())
        }
        Step::Flatten { input, output, .. } => shape(*output) == (program.tensors[*input].elements(), [1; 3]),
        Step::Argmax { input, bits, .. } => *input == program.logits && COMPARE_BITS.contains(bits),
        Step::Blend { input, bits, windows, .. } => *input == program.logits && windows_agree(program, windows, *bits),
    }
}

/// Windows of the network's grid, over one that is bounded, whose sums of scores have so many bits.
fn windows_agree(program: &Program, windows: &Windows, bits: u32) -> bool {
    let (input, logits) = (&program.tensors[program.input], &program.tensors[program.logits]);
    let channels = input.channels.max(program.classes);
    let elements = windows.grid.iter().try_fold(channels, |product, &d| product.checked_mul(d));
    windows.fault().is_none()
        && elements.is_some_and(|n| n <= MAX_ELEMENTS)
        && [input.dims, logits.dims] == [windows.size(); 2]
        && logits.bits + windows.weight_bits() <= bits
        && bits <= MAX_SUM_BITS
}

fn linear_agrees(program: &Program, linear: &Linear) -> bool {
    let dims = program.tensors[linear.inputs[0]].dims;
    let channels: usize = linear.inputs.iter().map(|&t| program.tensors[t].channels).sum();
    let output = &program.tensors[linear.output];
    // What a convolution asks for beyond this, its plan refuses.
    let kind_fits = match linear.kind {
        LinearKind::Conv { kernel, stride, padding } => (0..3).all(|d| {
            (1..=MAX_KERNEL).contains(&kernel[d]) && (1..=MAX_KERNEL).contains(&stride[d]) && padding[d] < kernel[d]
        }),
        LinearKind::Transposed2 { factor } => factor.iter().all(|f| matches!(f, 1 | 2)),
    };
    kind_fits
        && linear.inputs.iter().all(|&t| program.tensors[t].dims == dims)
        && channels == linear.in_channels
        && channels <= MAX_CHANNELS
        // A tensor may be read several times: all that is read counts.
        && linear.in_channels.saturating_mul(dims.iter().product()) <= MAX_ELEMENTS
        && output.channels == linear.out_channels
        && linear.kind.fits(dims, output.dims)
        && (2..=16).contains(&linear.weight_bits)
        && linear.shift <= MAX_LINEAR_SHIFT
}
