//! Small edits of a WGSL source, each of a kind that a slip of the pen makes.

use std::ops::Range;

/// An edit of one place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes of the source that are replaced.
    at: Range<usize>,
    /// What takes their place.
    to: String,
}

impl Edit {
    /// The source with this edit.
    pub fn apply(&self, source: &str) -> String {
        let (before, after) = (&source[..self.at.start], &source[self.at.end..]);
        [before, &self.to, after].concat()
    }

    /// The line as it is and as it becomes, with nothing around.
    pub fn in_words(&self, source: &str) -> String {
        let first = source[..self.at.start].rfind('\n').map_or(0, |at| at + 1);
        let end = source[self.at.end..].find('\n');
        let end = end.map_or(source.len(), |at| at + self.at.end);
        let becomes = [
            &source[first..self.at.start],
            &self.to,
            &source[self.at.end..end],
        ];
        let line = without_comment(&source[first..end]).trim();
        let becomes = becomes.concat();
        let becomes = without_comment(&becomes).trim();
        format!("{line} => {becomes}")
    }
}

/// Operators between two spaces, and what each may be mistaken for.
const OPERATORS: &[(&str, &str)] = &[
    ("+", "-"),
    ("-", "+"),
    ("*", "+"),
    ("/", "*"),
    ("%", "/"),
    ("<", "<="),
    ("<=", "<"),
    (">", ">="),
    (">=", ">"),
    ("==", "!="),
    ("!=", "=="),
    ("&&", "||"),
    ("||", "&&"),
    ("&", "|"),
    ("|", "&"),
    ("^", "|"),
    ("<<", ">>"),
    (">>", "<<"),
    ("+=", "-="),
    ("-=", "+="),
    ("*=", "="),
    ("/=", "="),
];

/// Words, and what each may be mistaken for.
const WORDS: &[(&str, &str)] = &[
    ("min", "max"),
    ("max", "min"),
    ("true", "false"),
    ("false", "true"),
];

/// Components of vectors, and what each may be mistaken for.
const COMPONENTS: &[(&str, &str)] = &[(".x", ".y"), (".y", ".x"), (".z", ".w"), (".w", ".z")];

/// What floating-point constants are multiplied by: they are right to seven digits, not three.
const FACTOR: f64 = 1.001;

/// Every edit of the code of a kernel: of its constants and functions, not of its declarations.
pub fn edits(source: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut start = 0;
    let mut in_struct = false;
    for line in source.split_inclusive('\n') {
        let code = without_comment(line);
        in_struct |= code.starts_with("struct ");
        let is_declaration = ["@", "fn ", "override ", "var<", "}"]
            .iter()
            .any(|word| code.trim_start().starts_with(word));
        if !in_struct && !is_declaration {
            let of_line = of_line(code).into_iter();
            edits.extend(of_line.map(|(at, to)| Edit {
                at: start + at.start..start + at.end,
                to,
            }));
        }
        in_struct &= !code.starts_with('}');
        start += line.len();
    }
    edits
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

/// The edits of a line, by the bytes that are replaced.
fn of_line(code: &str) -> Vec<(Range<usize>, String)> {
    let mut edits = Vec::new();
    for (from, to) in OPERATORS {
        let spaced = format!(" {from} ");
        edits.extend(
            code.match_indices(&spaced)
                .filter(|(at, _)| !is_idle(code, from, &code[at + spaced.len()..]))
                .map(|(at, _)| (at + 1..at + 1 + from.len(), (*to).to_owned())),
        );
    }
    for (from, to) in WORDS.iter().chain(COMPONENTS) {
        let whole = code.match_indices(from).filter(|(at, _)| {
            let before = code[..*at].chars().next_back();
            let after = code[at + from.len()..].chars().next();
            let joins = |c: Option<char>| c.is_some_and(is_of_name);
            !joins(after) && (from.starts_with('.') || !joins(before))
        });
        edits.extend(whole.map(|(at, _)| (at..at + from.len(), (*to).to_owned())));
    }
    edits.extend(constants(code));
    if is_statement(code.trim()) {
        let first = code.len() - code.trim_start().len();
        edits.push((first..first + code.trim().len(), String::new()));
    }
    edits
}

/// Does another operator give the same, or a loop that halves its way to 0 and never ends? That hangs a
/// device instead of giving results.
fn is_idle(code: &str, operator: &str, operand: &str) -> bool {
    let adds = ["+", "-"].contains(&operator);
    let ends = [">", "/="].contains(&operator);
    let halves = code.trim_start().starts_with("for ") && code.contains(" > 0u; ");
    adds && operand.starts_with("0u") || ends && halves
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The numbers of a line, each made a little larger, or smaller where that is beyond f32.
fn constants(code: &str) -> Vec<(Range<usize>, String)> {
    let mut edits = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let word = code[at..].find(|c: char| !is_of_name(c) && c != '.');
        let end = word.map_or(code.len(), |length| at + length);
        let is_number = code[at..].starts_with(|c: char| c.is_ascii_digit());
        if end > at && is_number {
            // The exponent's sign is no part of a name.
            let text = &code[at..end];
            let signed = text.ends_with('e') && code[end..].starts_with('-');
            let digits = code[end + usize::from(signed)..].find(|c: char| !is_of_name(c));
            let end = match (signed, digits) {
                (true, Some(digits)) => end + 1 + digits,
                _ => end,
            };
            edits.extend(larger(&code[at..end]).map(|to| (at..end, to)));
            at = end;
        }
        at = at.max(end) + 1;
    }
    edits
}

/// A number a little larger; [`None`] for what is no number of a kind that we use.
fn larger(number: &str) -> Option<String> {
    if let Some(digits) = number.strip_suffix('u') {
        let value = match digits.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => digits.parse().ok()?,
        };
        return Some(format!("{}u", value.wrapping_add(1)));
    }
    match number.parse::<f64>().ok()? {
        0.0 => Some("1.0".to_owned()),
        // Whole numbers without a mark are sizes of types.
        value if number.contains(['.', 'e']) => {
            let larger = (value * FACTOR) as f32;
            let other = if larger.is_finite() {
                larger
            } else {
                (value / FACTOR) as f32
            };
            Some(format!("{other:?}"))
        }
        _ => None,
    }
}

/// Is this line a statement of its own, which could be forgotten?
fn is_statement(line: &str) -> bool {
    let declares = ["let ", "var ", "const ", "for ", "if ", "return ", "}"]
        .iter()
        .any(|word| line.starts_with(word));
    line.ends_with(';') && !declares && line.starts_with(|c: char| is_of_name(c) || c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_slip_is_made_once_where_it_can_be() {
        let source = "struct Params {\n    len: u32, // 2u + 1u\n}\n\nfn main() {\n    \
                      let a = min(b.x, 2u) + 0.5; // c < d\n    workgroupBarrier();\n}\n";
        let words: Vec<_> = edits(source).iter().map(|e| e.in_words(source)).collect();
        let line = "let a = min(b.x, 2u) + 0.5;";
        let expected = [
            format!("{line} => let a = min(b.x, 2u) - 0.5;"),
            format!("{line} => let a = max(b.x, 2u) + 0.5;"),
            format!("{line} => let a = min(b.y, 2u) + 0.5;"),
            format!("{line} => let a = min(b.x, 3u) + 0.5;"),
            format!("{line} => let a = min(b.x, 2u) + 0.5005;"),
            "workgroupBarrier(); => ".to_owned(),
        ];
        let expected: Vec<_> = expected.iter().map(|e| e.trim_end().to_owned()).collect();
        let words: Vec<_> = words.iter().map(|w| w.trim_end().to_owned()).collect();
        assert_eq!(words, expected);
        assert!(
            of_line("for (var i = n; i > 0u; i /= 2u) {")
                .iter()
                .all(|e| e.1 != ">=" && e.1 != "=")
        );
        let first = edits(source)[0].apply(source);
        assert_eq!(first, source.replace(") + 0.5", ") - 0.5"));
    }

    #[test]
    fn numbers_are_told_from_names() {
        let of = |code| -> Vec<String> { constants(code).into_iter().map(|e| e.1).collect() };
        assert!(of("x3.y + vec4<f32>(a4)").is_empty());
        assert_eq!(
            of("f(0x0fu, 1e-3, 0.0, -3.4e38)"),
            ["16u", "0.001001", "1.0", "3.3966035e38"]
        );
    }
}
