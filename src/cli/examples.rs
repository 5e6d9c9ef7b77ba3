//! The end of each verb's help: examples that can be pasted into a shell.

/// Of `bptt` itself.
pub const BPTT: &str = "\
Examples:
  bptt train --data book.txt            # learn a text, into the folder runs/book
  bptt generate runs/book               # let the model write
  bptt eval runs/book --data other.txt  # how well does it predict another text?
  bptt parity --device gpu              # does my GPU compute what it should?

Each verb's --help has its own examples, and the default and the unit of each flag.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 the GPU was lost; 130 interrupted by Ctrl-C, 143 asked to terminate \
(what was trained is saved)";

/// Of `bptt train`.
pub const TRAIN: &str = "\
Examples:
  bptt train                                       # the embedded text, in seconds
  bptt train --data book.txt --valid-fraction 0.1  # a character model of a text
  bptt train --data book.txt --level word --vocab-size 10000 --emsize 200 --nhid 200
  bptt train --data book.txt --device gpu          # on the best GPU, or not at all
  bptt train --data book.txt --dry-run             # what it would take
  bptt train --resume runs/book --epochs 40        # go on with a run, for longer
  bptt train --config runs/book/config.toml --seed 2

Losses are in nats per token. A step is an update: of one window of T time steps in each of N streams, or of \
--accumulate such windows. Letters name sizes: V tokens in the vocabulary, D numbers an embedding, H hidden units, \
N streams, T time steps.";

/// Of `bptt generate`.
pub const GENERATE: &str = "\
Examples:
  bptt generate runs/book --prompt 'It was ' --length 300
  bptt generate runs/book --temperature 0.5 --seed 7
  bptt generate runs/book --samples 3 --top-k 40 --top-p 0.9 --json
  echo -n 'It was ' | bptt generate runs/book --prompt-file -
  bptt generate \"runs/book/checkpoints/$(cat runs/book/checkpoints/last)\"";

/// Of `bptt eval`.
pub const EVAL: &str = "\
Examples:
  bptt eval runs/book                              # its own validation text
  bptt eval runs/book --data other.txt --unknown skip
  bptt eval runs/book --data other.txt --unknown skip --surprisal surprisal.jsonl
  bptt eval runs/book --dynamic --dynamic-lr 0.1   # go on learning while reading

Losses are in nats per token; perplexity is e^loss.";

/// Of `bptt import`.
pub const IMPORT: &str = "\
Examples:
  bptt import model.safetensors --tokenizer runs/book/tokenizer.json --out runs/imported
  bptt import lm.safetensors --tokenizer tokenizer.json --out runs/lm --map vectors.=encoder.

The run can be used as one that was trained here: bptt generate, bptt eval, bptt train --init-from.";

/// Of `bptt export`.
pub const EXPORT: &str = "\
Examples:
  bptt export runs/book --onnx model.onnx
  bptt export \"runs/book/checkpoints/$(cat runs/book/checkpoints/last)\" --onnx last.onnx

Weights for PyTorch need no export: model.safetensors in each checkpoint has its names and layouts.";

/// Of `bptt inspect`.
pub const INSPECT: &str = "\
Examples:
  bptt inspect runs/book
  bptt inspect runs/book --json
  bptt inspect model.safetensors";

/// Of `bptt plot`.
pub const PLOT: &str = "\
Examples:
  bptt plot runs/book --terminal
  bptt plot runs/book runs/book-2 --out both.svg";

/// Of `bptt devices`.
pub const DEVICES: &str = "\
Examples:
  bptt devices
  bptt train --data book.txt --device gpu:0  # the one that is listed as gpu:0";

/// Of `bptt bench`.
pub const BENCH: &str = "\
Examples:
  bptt bench --device cpu --workload book
  bptt bench --device cpu --workload book --roofline roofline.svg
  bptt bench --device cpu --vocab-size 100 --nhid 64 --json
  bptt bench --device cpu --workload book --growth

Times are in milliseconds, speeds in 10⁹ floating-point operations (GFLOP/s) or bytes (GB/s) a second.";

/// Of `bptt completions`.
pub const COMPLETIONS: &str = "\
Examples:
  bptt completions bash > bptt.bash   # then: source bptt.bash
  bptt completions zsh > _bptt        # into a folder of $fpath
  bptt completions fish > bptt.fish   # into ~/.config/fish/completions";

/// Of `bptt man`.
pub const MAN: &str = "\
Examples:
  bptt man man1          # then: man man1/bptt-train.1
  bptt man man/man1      # then: MANPATH=man man bptt-train";

/// Of `bptt parity`.
pub const PARITY: &str = "\
Examples:
  bptt parity --device gpu
  bptt parity --device gpu --limits default   # with no more than what every GPU has
  bptt parity --device cpu --json             # the fast CPU path against the exact one

Each result is held to a bound that is derived from the roundings between inputs and result; the exit code is 1 if one \
is beyond it.";

#[cfg(test)]
mod tests {
    use clap::{ArgAction, Command, CommandFactory};

    use crate::cli::Arguments;

    /// The commands of `bptt` in the examples of a help text, as words.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let lines = help.lines().skip_while(|line| *line != "Examples:");
        let lines = lines.skip(1).take_while(|line| line.starts_with("  "));
        lines.map(|line| words(line.trim())).collect()
    }

    /// The words of a command as a shell sees them, from `bptt` to a comment or another command.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match (quote, c) {
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), c) if open == c => quote = None,
                (None, ' ') => words.extend(Some(std::mem::take(&mut word))),
                (_, c) => word.push(c),
            }
        }
        words.push(word);
        let from_bptt = words.into_iter().skip_while(|word| word != "bptt");
        let command = from_bptt.take_while(|word| !["#", ">", "|"].contains(&word.as_str()));
        command.filter(|word| !word.is_empty()).collect()
    }

    fn parses(words: &[String]) -> Result<(), String> {
        let parsed = Arguments::command().try_get_matches_from(words);
        parsed.map(drop).map_err(|e| format!("{words:?}: {e}"))
    }

    /// `bptt` and each of its verbs, as they are when they print their help.
    fn commands() -> Vec<Command> {
        let mut bptt = Arguments::command();
        bptt.build();
        let verbs = bptt.get_subcommands().filter(|v| v.get_name() != "help");
        let verbs: Vec<Command> = verbs.cloned().collect();
        std::iter::once(bptt).chain(verbs).collect()
    }

    #[test]
    fn the_help_of_every_verb_has_examples_that_parse() {
        let commands = commands();
        assert_eq!(commands.len(), 1 + 12);
        for mut command in commands {
            let help = command.render_long_help().to_string();
            let examples = examples(&help);
            assert!(examples.len() >= 2, "{help}");
            let name = command.get_name().to_owned();
            let own = examples.iter().filter(|words| words.contains(&name));
            assert!(own.count() >= 1, "{help}");
            for words in &examples {
                parses(words).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_example_is_noticed() {
        let help =
            "Examples:\n  bptt train --data 'a b.txt' > x  # text\n  bptt train --dta x\n\nEnd";
        let [right, wrong] = &examples(help)[..] else {
            panic!("{:?}", examples(help));
        };
        assert_eq!(right, &["bptt", "train", "--data", "a b.txt"]);
        assert!(parses(right).is_ok());
        assert!(parses(wrong).unwrap_err().contains("--dta"));
        assert!(parses(&words("echo x | bptt generate --prompt-file -")).is_err());
    }

    /// What a flag is without being given: clap says it, or its help, or the usage.
    fn says_its_default(arg: &clap::Arg) -> bool {
        let help = arg.get_long_help().or(arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let is_switch = !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        let shown = !arg.get_default_values().is_empty() && !arg.is_hide_default_value_set();
        is_switch || arg.is_required_set() || shown || help.contains("[default: ")
    }

    #[test]
    fn every_flag_has_a_meaning_and_says_its_default() {
        for command in commands() {
            for arg in command.get_arguments() {
                let (verb, flag) = (command.get_name(), arg.get_id());
                assert!(arg.get_help().is_some(), "{verb} {flag}");
                assert!(says_its_default(arg), "{verb} {flag}");
            }
        }
        let silent = clap::Arg::new("silent").long("silent").help("Silent");
        assert!(!says_its_default(&silent.action(ArgAction::Set)));
    }
}
