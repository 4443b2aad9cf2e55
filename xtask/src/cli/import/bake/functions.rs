//! Functions that expressions of a bake file may call: those of bake that only compute. Knows no files and no clock.

use hcl::eval::{Context, FuncArgs, FuncDef, ParamType};
use hcl::{Map, Value};

type Answer = Result<Value, String>;

/// Name, how many arguments at least, whether more may follow, and what it does.
type Known = (&'static str, usize, bool, fn(FuncArgs) -> Answer);

const KNOWN: &[Known] = &[
    // texts
    ("upper", 1, false, |a| Ok(text(&a[0])?.to_uppercase().into())),
    ("lower", 1, false, |a| Ok(text(&a[0])?.to_lowercase().into())),
    ("title", 1, false, |a| Ok(title(&text(&a[0])?).into())),
    ("trimspace", 1, false, |a| Ok(text(&a[0])?.trim().into())),
    ("trim", 2, false, |a| {
        let cut = text(&a[1])?;
        Ok(text(&a[0])?.trim_matches(|one| cut.contains(one)).into())
    }),
    ("trimprefix", 2, false, |a| {
        let (all, part) = (text(&a[0])?, text(&a[1])?);
        Ok(all.strip_prefix(part.as_str()).unwrap_or(&all).into())
    }),
    ("trimsuffix", 2, false, |a| {
        let (all, part) = (text(&a[0])?, text(&a[1])?);
        Ok(all.strip_suffix(part.as_str()).unwrap_or(&all).into())
    }),
    ("strlen", 1, false, |a| Ok(Value::from(text(&a[0])?.chars().count()))),
    ("substr", 3, false, |a| substr(&text(&a[0])?, whole(&a[1])?, whole(&a[2])?)),
    ("replace", 3, false, |a| Ok(text(&a[0])?.replace(&text(&a[1])?, &text(&a[2])?).into())),
    ("regex_replace", 3, false, |a| {
        Ok(pattern(&a[1])?.replace_all(&text(&a[0])?, text(&a[2])?.as_str()).into_owned().into())
    }),
    ("regex", 2, false, |a| regex(&a)),
    ("reverse", 1, false, |a| Ok(text(&a[0])?.chars().rev().collect::<String>().into())),
    ("join", 1, true, |a| {
        let parts = a[1..].iter().map(list).collect::<Result<Vec<_>, _>>()?.concat();
        let parts = parts.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        Ok(parts.join(&text(&a[0])?).into())
    }),
    ("split", 2, false, |a| Ok(text(&a[1])?.split(&text(&a[0])?).map(Value::from).collect::<Vec<_>>().into())),
    ("format", 1, true, |a| format(&text(&a[0])?, &a[1..])),
    ("sanitize", 1, false, |a| {
        let plain = |one: char| if one.is_ascii_alphanumeric() || "_-".contains(one) { one } else { '_' };
        Ok(text(&a[0])?.chars().map(plain).collect::<String>().into())
    }),
    ("basename", 1, false, |a| Ok(text(&a[0])?.trim_end_matches('/').rsplit('/').next().unwrap_or_default().into())),
    ("dirname", 1, false, |a| Ok(text(&a[0])?.rsplit_once('/').map_or(".", |(dir, _)| dir).into())),
    ("jsonencode", 1, false, |a| serde_json::to_string(&a[0]).map(Value::from).map_err(|error| error.to_string())),
    ("jsondecode", 1, false, |a| serde_json::from_str(&text(&a[0])?).map_err(|error| error.to_string())),
    // lists and maps
    ("length", 1, false, |a| length(&a[0])),
    ("concat", 1, true, |a| Ok(a.iter().map(list).collect::<Result<Vec<_>, _>>()?.concat().into())),
    ("compact", 1, false, |a| {
        let is_empty = |value: &Value| value.is_null() || value.as_str() == Some("");
        Ok(list(&a[0])?.into_iter().filter(|value| !is_empty(value)).collect::<Vec<_>>().into())
    }),
    ("distinct", 1, false, |a| Ok(distinct(list(&a[0])?).into())),
    ("flatten", 1, false, |a| Ok(flat(list(&a[0])?).into())),
    ("reverselist", 1, false, |a| Ok(list(&a[0])?.into_iter().rev().collect::<Vec<_>>().into())),
    ("sort", 1, false, |a| {
        let mut texts = list(&a[0])?.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        texts.sort();
        Ok(texts.into_iter().map(Value::from).collect::<Vec<_>>().into())
    }),
    ("slice", 3, false, |a| {
        let (all, from, to) = (list(&a[0])?, whole(&a[1])?, whole(&a[2])?);
        let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
        all.get(range).map(|part| part.to_vec().into()).ok_or_else(|| format!("no elements {from} to {to}"))
    }),
    ("range", 1, true, |a| range(&a)),
    ("contains", 2, false, |a| Ok(list(&a[0])?.contains(&a[1]).into())),
    ("element", 2, false, |a| {
        let all = list(&a[0])?;
        let at = whole(&a[1])?.checked_rem_euclid(all.len() as i64).ok_or("the list is empty")?;
        Ok(all[usize::try_from(at).unwrap_or(0)].clone())
    }),
    ("index", 2, false, |a| lookup(&a[0], &a[1])?.ok_or_else(|| format!("no element {}", a[1]))),
    ("indexof", 2, false, |a| {
        let at = list(&a[0])?.iter().position(|value| *value == a[1]);
        at.map(Value::from).ok_or_else(|| format!("the list has no {}", a[1]))
    }),
    ("keys", 1, false, |a| Ok(sorted(&a[0])?.into_iter().map(|(key, _)| Value::from(key)).collect::<Vec<_>>().into())),
    ("values", 1, false, |a| Ok(sorted(&a[0])?.into_iter().map(|(_, value)| value).collect::<Vec<_>>().into())),
    ("merge", 1, true, |a| {
        let mut all = Map::new();
        for value in a.iter().filter(|value| !value.is_null()) {
            all.extend(map(value)?.clone());
        }
        Ok(Value::Object(all))
    }),
    ("lookup", 2, true, |a| match lookup(&a[0], &a[1])? {
        Some(value) => Ok(value),
        None => a.get(2).cloned().ok_or_else(|| format!("no element {}", a[1])),
    }),
    ("zipmap", 2, false, |a| {
        let keys = list(&a[0])?.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Object(keys.into_iter().zip(list(&a[1])?).collect()))
    }),
    ("coalesce", 1, true, |a| {
        a.iter().find(|value| !value.is_null()).cloned().ok_or_else(|| "all arguments are null".into())
    }),
    ("coalescelist", 1, true, |a| {
        let full = |value: &&Value| value.as_array().is_some_and(|list| !list.is_empty());
        a.iter().find(full).cloned().ok_or_else(|| "all lists are empty".into())
    }),
    // truth and numbers
    ("equal", 2, false, |a| Ok((a[0] == a[1]).into())),
    ("notequal", 2, false, |a| Ok((a[0] != a[1]).into())),
    ("and", 2, false, |a| Ok((truth(&a[0])? && truth(&a[1])?).into())),
    ("or", 2, false, |a| Ok((truth(&a[0])? || truth(&a[1])?).into())),
    ("not", 1, false, |a| Ok((!truth(&a[0])?).into())),
    ("greaterthan", 2, false, |a| Ok((number(&a[0])? > number(&a[1])?).into())),
    ("greaterthanorequalto", 2, false, |a| Ok((number(&a[0])? >= number(&a[1])?).into())),
    ("lessthan", 2, false, |a| Ok((number(&a[0])? < number(&a[1])?).into())),
    ("lessthanorequalto", 2, false, |a| Ok((number(&a[0])? <= number(&a[1])?).into())),
    ("add", 2, false, |a| numeric(number(&a[0])? + number(&a[1])?)),
    ("subtract", 2, false, |a| numeric(number(&a[0])? - number(&a[1])?)),
    ("multiply", 2, false, |a| numeric(number(&a[0])? * number(&a[1])?)),
    ("divide", 2, false, |a| numeric(number(&a[0])? / number(&a[1])?)),
    ("modulo", 2, false, |a| numeric(number(&a[0])? % number(&a[1])?)),
    ("negate", 1, false, |a| numeric(-number(&a[0])?)),
    ("absolute", 1, false, |a| numeric(number(&a[0])?.abs())),
    ("ceil", 1, false, |a| numeric(number(&a[0])?.ceil())),
    ("floor", 1, false, |a| numeric(number(&a[0])?.floor())),
    ("int", 1, false, |a| numeric(number(&a[0])?.trunc())),
    ("max", 1, true, |a| most(&a, f64::max)),
    ("min", 1, true, |a| most(&a, f64::min)),
];

/// Makes them known.
pub(super) fn declare(context: &mut Context<'_>) {
    for (name, at_least, has_more, function) in KNOWN {
        let definition = FuncDef::builder().params((0..*at_least).map(|_| ParamType::Any));
        let definition = if *has_more {
            definition.variadic_param(ParamType::Any).build(*function)
        } else {
            definition.build(*function)
        };
        context.declare_func(*name, definition);
    }
}

/// How they are called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, ..)| *name)
}

/// Numbers and truths are texts where a text is wanted.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("{other} is no text")),
    }
}

fn list(value: &Value) -> Result<Vec<Value>, String> {
    value.as_array().cloned().ok_or_else(|| format!("{value} is no list"))
}

fn map(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{value} is no map"))
}

fn truth(value: &Value) -> Result<bool, String> {
    let written = value.as_str().and_then(|text| text.parse().ok());
    value.as_bool().or(written).ok_or_else(|| format!("{value} is neither true nor false"))
}

fn number(value: &Value) -> Result<f64, String> {
    let written = value.as_str().and_then(|text| text.parse().ok());
    value.as_f64().or(written).ok_or_else(|| format!("{value} is no number"))
}

fn whole(value: &Value) -> Result<i64, String> {
    let number = number(value)?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole")]
    if number.fract() == 0.0 { Ok(number as i64) } else { Err(format!("{number} is no whole number")) }
}

/// Without a fraction it is written without one.
fn numeric(number: f64) -> Answer {
    match whole(&Value::from(number)) {
        Ok(whole) => Ok(whole.into()),
        Err(_) if number.is_finite() => Ok(number.into()),
        Err(_) => Err("the result is no number".to_owned()),
    }
}

fn most(values: &[Value], of_two: fn(f64, f64) -> f64) -> Answer {
    let numbers = values.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    numeric(numbers.into_iter().reduce(of_two).unwrap_or_default())
}

fn title(text: &str) -> String {
    let mut is_first = true;
    let big = |one: char| {
        let out: String = if is_first { one.to_uppercase().collect() } else { one.to_string() };
        is_first = one.is_whitespace();
        out
    };
    text.chars().map(big).collect()
}

fn substr(text: &str, from: i64, length: i64) -> Answer {
    let all: Vec<char> = text.chars().collect();
    let from = if from < 0 { all.len() as i64 + from } else { from };
    let from = usize::try_from(from).map_err(|_| format!("the text has only {} characters", all.len()))?;
    let rest = all.into_iter().skip(from);
    // A negative length means up to the end.
    let part: String = match usize::try_from(length) {
        Ok(length) => rest.take(length).collect(),
        Err(_) => rest.collect(),
    };
    Ok(part.into())
}

fn pattern(value: &Value) -> Result<regex_lite::Regex, String> {
    regex_lite::Regex::new(&text(value)?).map_err(|error| error.to_string())
}

/// The match as a text, or its groups as a list.
fn regex(arguments: &[Value]) -> Answer {
    let (pattern, all) = (pattern(&arguments[0])?, text(&arguments[1])?);
    let found = pattern.captures(&all).ok_or("the pattern does not match")?;
    let part = |at: usize| found.get(at).map_or(Value::Null, |part| part.as_str().into());
    if found.len() == 1 { Ok(part(0)) } else { Ok((1..found.len()).map(part).collect::<Vec<_>>().into()) }
}

/// `%s`, `%d`, `%v`, `%q`, `%t` and `%%`.
fn format(form: &str, arguments: &[Value]) -> Answer {
    let (mut out, mut arguments, mut rest) = (String::new(), arguments.iter(), form.chars());
    while let Some(one) = rest.next() {
        if one != '%' {
            out.push(one);
            continue;
        }
        let verb = rest.next().unwrap_or(' ');
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("`{form}` has too few arguments"))?;
        match verb {
            's' | 'v' | 't' => out.push_str(&text(value)?),
            'd' => out.push_str(&whole(value)?.to_string()),
            'q' => out.push_str(&serde_json::to_string(&text(value)?).map_err(|error| error.to_string())?),
            other => return Err(format!("`%{other}` of `{form}` is not known here")),
        }
    }
    if arguments.next().is_some() { Err(format!("`{form}` has too many arguments")) } else { Ok(out.into()) }
}

fn length(value: &Value) -> Answer {
    match value {
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => Ok(text(other)?.chars().count().into()),
    }
}

fn distinct(values: Vec<Value>) -> Vec<Value> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

fn flat(values: Vec<Value>) -> Vec<Value> {
    let flat_one = |value| match value {
        Value::Array(list) => flat(list),
        other => vec![other],
    };
    values.into_iter().flat_map(flat_one).collect()
}

/// `range(END)`, `range(START, END)`, `range(START, END, STEP)`.
fn range(arguments: &[Value]) -> Answer {
    let numbers = arguments.iter().map(whole).collect::<Result<Vec<_>, _>>()?;
    let (start, end, step) = match numbers.as_slice() {
        [end] => (0, *end, 1),
        [start, end] => (*start, *end, 1),
        [start, end, step] if *step > 0 => (*start, *end, *step),
        _ => return Err("expected an end, perhaps a start before it, and a step above 0".to_owned()),
    };
    if (end - start) / step > 1000 {
        return Err("more than 1000 numbers".to_owned());
    }
    let step = usize::try_from(step).unwrap_or(1);
    Ok((start..end).step_by(step).map(Value::from).collect::<Vec<_>>().into())
}

fn sorted(value: &Value) -> Result<Vec<(String, Value)>, String> {
    let mut entries: Vec<_> = map(value)?.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(entries)
}

fn lookup(collection: &Value, key: &Value) -> Result<Option<Value>, String> {
    match collection {
        Value::Array(list) => Ok(usize::try_from(whole(key)?).ok().and_then(|at| list.get(at).cloned())),
        other => Ok(map(other)?.get(&text(key)?).cloned()),
    }
}
