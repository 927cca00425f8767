//! A stack machine with an assembler, a static verifier, and a fuel limit.
//!
//! Problem: users may upload small scoring formulas. They must not crash the server, run for
//! ever, or read outside their data. The verifier checks before the first run that every jump
//! has a target and that the stack height is the same on every way to an instruction and never
//! negative, so the interpreter itself needs no stack checks. Endless loops end when the fuel
//! is used up.

use std::collections::HashMap;

#[derive(Debug, Clone, Copy)]
enum Op {
    Push(i64),
    Load(usize),  // copy a variable to the stack
    Store(usize), // pop into a variable
    Math(fn(i64, i64) -> Option<i64>),
    Jump(usize),
    JumpIfZero(usize),
    Halt, // the result is the only value left
}

impl Op {
    /// Values taken from and put on the stack.
    fn effect(self) -> (usize, usize) {
        match self {
            Op::Push(_) | Op::Load(_) => (0, 1),
            Op::Store(_) | Op::JumpIfZero(_) | Op::Halt => (1, 0),
            Op::Math(_) => (2, 1),
            Op::Jump(_) => (0, 0),
        }
    }
}

#[derive(Debug)]
struct Program {
    code: Vec<Op>,
    variables: usize,
}

/// Translate lines such as "loop: load n" into code; labels may be used before they appear.
fn assemble(source: &str) -> Result<Program, String> {
    let mut labels = HashMap::new();
    let mut lines = Vec::new();
    for line in source.lines() {
        let mut rest = line.split('#').next().unwrap_or("").trim();
        while let Some((label, tail)) = rest.split_once(':') {
            labels.insert(label.trim(), lines.len());
            rest = tail.trim();
        }
        if !rest.is_empty() {
            lines.push(rest);
        }
    }
    let mut names: Vec<&str> = Vec::new();
    let mut code = Vec::new();
    for line in lines {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        let argument = argument.trim();
        let target = || labels.get(argument).copied().ok_or(format!("no label \"{argument}\""));
        let known = names.iter().position(|name| *name == argument);
        let mut variable = || known.unwrap_or_else(|| { names.push(argument); names.len() - 1 });
        code.push(match word {
            "push" => Op::Push(argument.parse().map_err(|_| format!("bad number in \"{line}\""))?),
            "load" => Op::Load(variable()),
            "store" => Op::Store(variable()),
            "add" => Op::Math(i64::checked_add),
            "sub" => Op::Math(i64::checked_sub),
            "mul" => Op::Math(i64::checked_mul),
            "div" => Op::Math(i64::checked_div),
            "less" => Op::Math(|a, b| Some((a < b) as i64)),
            "jump" => Op::Jump(target()?),
            "jz" => Op::JumpIfZero(target()?),
            "halt" => Op::Halt,
            _ => return Err(format!("unknown instruction \"{line}\"")),
        });
    }
    verify(&code)?;
    Ok(Program { code, variables: names.len() })
}

/// Follow every path once and compare stack heights where paths meet.
fn verify(code: &[Op]) -> Result<(), String> {
    let mut height: Vec<Option<usize>> = vec![None; code.len()];
    let mut todo = vec![(0, 0)];
    while let Some((at, depth)) = todo.pop() {
        let op = *code.get(at).ok_or("the program runs off its end")?;
        match height[at].replace(depth) {
            Some(known) if known == depth => continue,
            Some(known) => return Err(format!("heights {known} and {depth} meet at {at}")),
            None => {}
        }
        let (taken, given) = op.effect();
        let left = depth.checked_sub(taken).ok_or(format!("stack is empty at {at}"))?;
        match op {
            Op::Halt if left > 0 => return Err(format!("{left} values left over at {at}")),
            Op::Halt => {}
            Op::Jump(target) => todo.push((target, left)),
            Op::JumpIfZero(target) => todo.extend([(target, left), (at + 1, left)]),
            _ => todo.push((at + 1, left + given)),
        }
    }
    Ok(())
}

fn run(program: &Program, mut fuel: u32) -> Result<i64, String> {
    let mut stack: Vec<i64> = Vec::new();
    let mut variables = vec![0i64; program.variables];
    let mut pc = 0;
    loop {
        fuel = fuel.checked_sub(1).ok_or("out of fuel")?;
        let op = program.code[pc];
        pc += 1;
        let mut pop = || stack.pop().expect("verified");
        let result = match op {
            Op::Push(value) => Some(value),
            Op::Load(slot) => Some(variables[slot]),
            Op::Halt => return Ok(pop()),
            Op::Store(slot) => { variables[slot] = pop(); continue }
            Op::Jump(target) => { pc = target; continue }
            Op::JumpIfZero(target) => { if pop() == 0 { pc = target } continue }
            Op::Math(apply) => { let b = pop(); apply(pop(), b) }
        };
        stack.push(result.ok_or(format!("arithmetic error at {}", pc - 1))?);
    }
}

fn main() -> Result<(), String> {
    let compound = "push 1000\n store sum\n push 10\n store years\n loop: load years\n jz end
        load sum\n push 105\n mul\n push 100\n div\n store sum # five percent
        load years\n push 1\n sub\n store years\n jump loop\n end: load sum\n halt";
    let result = run(&assemble(compound)?, 1000)?;
    println!("after ten years: {result}");
    assert_eq!(result, 1623);
    assert_eq!(run(&assemble("x: jump x")?, 100), Err("out of fuel".to_string()));
    assert!(run(&assemble("push 1\n push 0\n div\n halt")?, 9).unwrap_err().contains("at 2"));
    for bad in ["add\n halt", "push 1", "push 1\n push 2\n halt", "a: push 1\n jump a", "jump z"] {
        println!("rejected: {}", assemble(bad).unwrap_err());
    }
    Ok(())
}
