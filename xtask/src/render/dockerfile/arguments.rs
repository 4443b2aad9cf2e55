//! `ARG`: scopes, defaults, and which build args a value depends on. Knows nothing of files and images.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::BuildOptions;
use super::instruction::Instruction;
use super::read::Reader;
use super::words::expand;

/// A variable's value, and the build args that could have made it another.
#[derive(Clone, Debug, Default)]
pub(super) struct Binding {
    pub(super) value: String,
    pub(super) deps: BTreeSet<String>,
    /// Whether the value may hold something of a base image of unknown `ENV`.
    pub(super) unknown: bool,
}

/// The variables of a stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// `ENV` wins over `ARG`, whichever comes first.
    env: HashMap<String, Binding>,
    args: HashMap<String, Binding>,
    /// Whether a base image of unknown `ENV` may bring more variables.
    pub(super) open: bool,
}

impl Scope {
    pub(super) fn of_image(env: Option<&BTreeMap<String, String>>) -> Self {
        let mut scope = Self { open: env.is_none(), ..Self::default() };
        for (name, value) in env.into_iter().flatten() {
            scope.set_env(name.clone(), value.clone(), false);
        }
        scope
    }

    /// The value, if the variable is set.
    pub(super) fn get(&self, name: &str) -> Option<&Binding> {
        self.env.get(name).or_else(|| self.args.get(name))
    }

    pub(super) fn set_env(&mut self, name: String, value: String, unknown: bool) {
        self.env.insert(name, Binding { value, deps: BTreeSet::new(), unknown });
    }

    /// The build args that a `RUN` can see in its environment.
    fn visible_args(&self) -> impl Iterator<Item = &String> {
        self.args.iter().filter(|(name, _)| !self.env.contains_key(*name)).flat_map(|(_, binding)| &binding.deps)
    }
}

/// `TARGETARCH` and its like, which exist without a declaration before the first `FROM`.
pub(super) fn global_platform_args(options: &BuildOptions) -> HashMap<String, Binding> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let build = format!("linux/{machine}");
    let target = options.platform.clone().unwrap_or_else(|| build.clone());
    let mut found = HashMap::new();
    for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
        let mut parts = platform.splitn(3, '/').map(str::to_owned);
        let mut set = |name: &str, value: String| {
            found.insert(format!("{prefix}{name}"), Binding { value, ..Binding::default() });
        };
        set("OS", parts.next().unwrap_or_default());
        set("ARCH", parts.next().unwrap_or_default());
        set("VARIANT", parts.next().unwrap_or_default());
        set("PLATFORM", platform);
    }
    found
}

impl Reader<'_> {
    pub(super) fn arg(&mut self, one: &Instruction<'_>) {
        for word in one.words() {
            let (name, default) = match word.raw.split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (word.raw, None),
            };
            if name.is_empty() {
                self.error_at(one, word.range.start, format!("`ARG {}` has no name", word.raw), None);
                continue;
            }
            if let Some(binding) = self.bind(one, name, default) {
                match self.scopes.last_mut() {
                    None => self.globals.insert(name.to_owned(), binding),
                    Some(scope) => scope.args.insert(name.to_owned(), binding),
                };
            }
            self.declared.insert(name.to_owned());
        }
    }

    /// Given value, else default, else the global of that name; `None` if it has no value at all.
    fn bind(&mut self, one: &Instruction<'_>, name: &str, default: Option<&str>) -> Option<Binding> {
        let own = BTreeSet::from([name.to_owned()]);
        if let Some(given) = self.options.args.get(name) {
            return Some(Binding { value: given.clone(), deps: own, unknown: false });
        }
        let mut binding = match default {
            Some(default) => self.value(one, default)?,
            None if !self.scopes.is_empty() => self.globals.get(name).cloned().unwrap_or_default(),
            None => return None,
        };
        binding.deps.extend(own);
        Some(binding)
    }

    /// Expands a default without counting what it references as used: that is decided where the `ARG` is used.
    fn value(&mut self, one: &Instruction<'_>, word: &str) -> Option<Binding> {
        let mut deps = BTreeSet::new();
        let mut unknown = false;
        let scope = self.scopes.last();
        let globals = &self.globals;
        let result = expand(word, self.escape, &mut |name| {
            let binding = match scope {
                Some(scope) => scope.get(name),
                None => globals.get(name),
            };
            unknown |= binding.map_or(scope.is_some_and(|scope| scope.open), |binding| binding.unknown);
            deps.extend(binding?.deps.iter().cloned());
            Some(binding?.value.clone())
        });
        let value = self.settle(one, word, result)?;
        Some(Binding { value, deps, unknown })
    }

    /// Expands a word of a `FROM`, which sees only the globals. Gives the text and the build args in it.
    pub(super) fn expand_global(&mut self, one: &Instruction<'_>, word: &str) -> Option<(String, BTreeSet<String>)> {
        let mut deps = BTreeSet::new();
        let globals = &self.globals;
        let result = expand(word, self.escape, &mut |name| {
            let binding = globals.get(name)?;
            deps.extend(binding.deps.iter().cloned());
            Some(binding.value.clone())
        });
        Some((self.settle(one, word, result)?, deps))
    }

    /// A `RUN` sees every declared build arg as environment.
    pub(super) fn use_visible_args(&mut self) {
        let Some(scope) = self.scopes.last() else { return };
        let visible: Vec<String> = scope.visible_args().cloned().collect();
        self.stage().args_used.extend(visible);
    }
}
