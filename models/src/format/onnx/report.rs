//! What stands in the way of an import: all of it in one message.

/// A node that can't be imported.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Offence {
    /// Its name.
    pub node: String,
    /// Its operator, or the pattern that it is a part of.
    pub operator: String,
    /// What was found.
    pub found: String,
    /// What is supported, and a way out.
    pub supported: String,
}

/// The message about all offences of a file; nodes at fault in the same way share a line.
pub(super) fn message(file: &str, nodes: usize, offences: &[Offence]) -> String {
    let mut kinds: Vec<(&Offence, Vec<&str>)> = Vec::new();
    for offence in offences {
        let alike = |(o, _): &&mut (&Offence, Vec<&str>)| {
            (&o.operator, &o.found, &o.supported) == (&offence.operator, &offence.found, &offence.supported)
        };
        match kinds.iter_mut().find(alike) {
            Some((_, names)) => names.push(&offence.node),
            None => kinds.push((offence, vec![&offence.node])),
        }
    }
    let mut text = format!("{file}: {} of {nodes} nodes have no secure form", offences.len());
    for (Offence { operator, found, supported, .. }, names) in kinds {
        let shown: Vec<_> = names.iter().take(3).map(|n| format!("{n:?}")).collect();
        let more = if names.len() > 3 { format!(" and {} more", names.len() - 3) } else { String::new() };
        text += &format!("\n  {}{more} ({operator}): {found}; {supported}", shown.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_at_fault_in_the_same_way_share_a_line() {
        let offence = |node: &str, operator: &str| Offence {
            node: node.into(),
            operator: operator.into(),
            found: "found it".into(),
            supported: "supported: another".into(),
        };
        let all = [
            offence("a", "Gelu"),
            offence("b", "Erf"),
            offence("c", "Gelu"),
            offence("d", "Gelu"),
            offence("e", "Gelu"),
        ];
        let text = message("m.onnx", 9, &all);
        assert_eq!(
            text,
            "m.onnx: 5 of 9 nodes have no secure form\n  \"a\", \"c\", \"d\" and 1 more (Gelu): found it; supported: another\n  \
             \"b\" (Erf): found it; supported: another"
        );
    }
}
