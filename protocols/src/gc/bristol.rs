//! Circuits in Bristol Fashion text.
//!
//! ```text
//! <gates> <wires>
//! <number of input values> <bits of each>
//! <number of output values> <bits of each>
//!
//! <inputs> <outputs> <input wires> <output wire> XOR|AND|INV|EQ|EQW     (a line for each gate)
//! ```
//!
//! Inputs are the first wires, outputs the last. The first input value is the garbler's, all others the evaluator's.

use std::fmt::Write;

use super::circuit::{Bit, Builder, Circuit, Node};
use crate::error::{Error, Result};

/// Wires of a readable circuit; a bound on memory.
const MAX_WIRES: usize = 1 << 24;

fn bad(line: usize, what: impl std::fmt::Display) -> Error {
    Error::Input(format!("circuit, line {line}: {what}"))
}

fn numbers(line: usize, text: &str) -> Result<Vec<usize>> {
    text.split_whitespace().map(|w| w.parse().map_err(|_| bad(line, format!("`{w}` is not a number")))).collect()
}

/// "count a b c": the numbers after the count, their sum at most `MAX_WIRES`.
fn sizes(line: usize, text: &str) -> Result<Vec<usize>> {
    let all = numbers(line, text)?;
    match all.split_first() {
        Some((&count, sizes)) if sizes.len() == count => {
            let sum = sizes.iter().try_fold(0usize, |s, &x| s.checked_add(x));
            if sum.is_some_and(|s| s <= MAX_WIRES) { Ok(sizes.to_vec()) } else { Err(bad(line, "too many bits")) }
        }
        _ => Err(bad(line, "a count and as many sizes were expected")),
    }
}

/// Reads a circuit. Errors name the line.
pub fn read(text: &str) -> Result<Circuit> {
    let mut lines = text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())).filter(|(_, l)| !l.is_empty());
    let mut next =
        |what: &str| lines.next().ok_or_else(|| Error::Input(format!("circuit: the file ends before {what}")));
    let (line, text) = next("the number of gates")?;
    let &[gates, wires] = numbers(line, text)?.as_slice() else {
        return Err(bad(line, "gates and wires were expected"));
    };
    if wires > MAX_WIRES {
        return Err(bad(line, format!("{wires} wires, at most {MAX_WIRES} are read")));
    }
    let (line, text) = next("the inputs")?;
    let inputs = sizes(line, text)?;
    let (garbler, evaluator) = inputs.split_first().map_or((0, 0), |(&g, rest)| (g, rest.iter().sum()));
    let (line, text) = next("the outputs")?;
    let outputs: usize = sizes(line, text)?.iter().sum();
    if garbler + evaluator > wires || outputs > wires {
        return Err(bad(line, format!("more inputs or outputs than the {wires} wires")));
    }
    let mut builder = Builder::new(garbler, evaluator);
    let mut values = vec![None; wires];
    let first = [builder.garbler(0..garbler), builder.evaluator(0..evaluator)].concat();
    values.iter_mut().zip(first).for_each(|(v, bit)| *v = Some(bit));
    for gate in 0..gates {
        let (line, text) = next(&format!("gate {gate}"))?;
        read_gate(line, text, &mut builder, &mut values)?;
    }
    if let Some((line, _)) = lines.next() {
        return Err(bad(line, format!("more than the {gates} gates that line 1 gives")));
    }
    let outputs: Option<Vec<_>> = values[wires - outputs..].iter().copied().collect();
    Ok(builder.finish(outputs.ok_or_else(|| Error::Input("circuit: an output wire that no gate sets".into()))?))
}

fn read_gate(line: usize, text: &str, builder: &mut Builder, values: &mut [Option<Bit>]) -> Result<()> {
    let (wires, name) = text.rsplit_once(char::is_whitespace).ok_or_else(|| bad(line, "a gate was expected"))?;
    let wires = numbers(line, wires)?;
    let (of, out) = match *wires.as_slice() {
        [2, 1, a, b, out] => (vec![a, b], out),
        [1, 1, a, out] => (vec![a], out),
        _ => return Err(bad(line, "a gate of one or two inputs and one output was expected")),
    };
    let get = |wire: usize| {
        values.get(wire).copied().flatten().ok_or_else(|| bad(line, format!("wire {wire} has no value yet")))
    };
    let value = match (name, of.as_slice()) {
        ("XOR", &[a, b]) => builder.xor(get(a)?, get(b)?),
        ("AND", &[a, b]) => builder.and(get(a)?, get(b)?),
        ("INV" | "NOT", &[a]) => !get(a)?,
        ("EQW", &[a]) => get(a)?,
        ("EQ", &[constant @ (0 | 1)]) => Bit::constant(constant == 1),
        _ => return Err(bad(line, format!("`{name}` of {} inputs is not a known gate", of.len()))),
    };
    match values.get_mut(out) {
        Some(slot @ None) => *slot = Some(value),
        Some(Some(_)) => return Err(bad(line, format!("wire {out} is set twice"))),
        None => return Err(bad(line, format!("there is no wire {out}"))),
    }
    Ok(())
}

/// Writes a circuit: the garbler's bits as the first input value, the evaluator's as the second.
pub fn write(circuit: &Circuit) -> String {
    let inputs: usize = circuit.inputs.iter().sum();
    let (mut body, mut gates, mut wires) = (String::new(), 0, inputs);
    let mut gate = |text: std::fmt::Arguments<'_>, name: &str| {
        writeln!(body, "{text} {wires} {name}").expect("writing to a string");
        gates += 1;
        wires += 1;
        wires - 1
    };
    let mut wire_of = vec![0; circuit.nodes.len()];
    wire_of[0] = gate(format_args!("1 1 0"), "EQ");
    for (i, node) in circuit.nodes.iter().enumerate() {
        let wire = |bit: Bit, gate: &mut dyn FnMut(std::fmt::Arguments<'_>, &str) -> usize| {
            let at = wire_of[bit.node()];
            if bit.negated() { gate(format_args!("1 1 {at}"), "INV") } else { at }
        };
        wire_of[i] = match *node {
            Node::Zero => wire_of[0],
            Node::Garbler(input) => input,
            Node::Evaluator(input) => circuit.inputs[0] + input,
            Node::Xor(a, b) => gate(format_args!("2 1 {} {}", wire_of[a], wire_of[b]), "XOR"),
            Node::And(a, b) => {
                let (a, b) = (wire(a, &mut gate), wire(b, &mut gate));
                gate(format_args!("2 1 {a} {b}"), "AND")
            }
        };
    }
    for bit in &circuit.outputs {
        let name = if bit.negated() { "INV" } else { "EQW" };
        gate(format_args!("1 1 {}", wire_of[bit.node()]), name);
    }
    let [garbler, evaluator] = circuit.inputs;
    format!("{gates} {wires}\n2 {garbler} {evaluator}\n1 {}\n\n{body}", circuit.outputs.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arithmetic;
    use super::*;

    #[test]
    fn circuits_survive_a_file() {
        for circuit in [arithmetic::relu(6), arithmetic::argmax(3, 4), arithmetic::sign(1)] {
            let read = read(&write(&circuit)).unwrap();
            assert_eq!((read.inputs, read.ands()), (circuit.inputs, circuit.ands()));
            for i in 0..200u64 {
                let bits = |n: usize, seed: u64| {
                    (0..n).map(|b| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (b + 20) & 1 == 1).collect::<Vec<_>>()
                };
                let (g, e) = (bits(circuit.inputs[0], i), bits(circuit.inputs[1], i + 1000));
                assert_eq!(read.plain(&g, &e), circuit.plain(&g, &e));
            }
        }
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("", "ends before the number of gates"),
            ("1 x", "line 1: `x` is not a number"),
            ("1 99999999999", "line 1"),
            ("1 3\n2 1\n1 1", "line 2: a count"),
            ("1 3\n2 1 1\n1 9", "line 3: more inputs or outputs"),
            ("1 3\n2 1 1\n1 1\n2 1 0 2 2 AND", "line 4: wire 2 has no value"),
            ("1 3\n2 1 1\n1 1\n2 1 0 1 0 AND", "line 4: wire 0 is set twice"),
            ("1 3\n2 1 1\n1 1\n2 1 0 1 7 AND", "line 4: there is no wire 7"),
            ("1 3\n2 1 1\n1 1\n2 1 0 1 2 NOR", "`NOR` of 2 inputs"),
            ("1 3\n2 1 1\n1 1\n3 1 0 1 1 2 MAND", "line 4: a gate of one or two"),
            ("2 4\n2 1 1\n1 1\n2 1 0 1 2 AND", "ends before gate 1"),
            ("0 3\n2 1 1\n1 1", "an output wire that no gate sets"),
            ("0 2\n2 1 1\n1 1\n2 1 0 1 2 AND", "line 4: more than the 0 gates"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([0-3 ]{0,12}(AND|XOR|INV)?\n){0,9}") {
            let _ = read(&text);
        }
    }
}
