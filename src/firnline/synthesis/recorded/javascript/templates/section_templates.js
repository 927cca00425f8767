'use strict';
/*
 * Section templates: turn a small text template into a reusable render function.
 *
 * Problem: mail and report texts need more than plain placeholders. They repeat a
 * block for every item of a list and show another block only when a value is absent.
 * Re-scanning the template for every customer is wasteful, so the text is compiled once
 * into a tree and rendered many times.
 *
 * Syntax:
 *   {{name}}            value lookup, dotted paths allowed, HTML-escaped
 *   {{&name}}           value lookup without escaping
 *   {{#name}}...{{/name}}  block, once per element of a list, or once for a true value
 *   {{^name}}...{{/name}}  block shown only for a missing, false or empty value
 */

class TemplateError extends Error {
  constructor(message, source, offset) {
    const line = source.slice(0, offset).split('\n').length;
    super(`${message} (line ${line})`);
    this.name = 'TemplateError';
    this.line = line;
  }
}

const ESCAPES = new Map([['&', '&amp;'], ['<', '&lt;'], ['>', '&gt;'], ['"', '&quot;']]);

function escapeHtml(text) {
  return text.replace(/[&<>"]/g, (ch) => ESCAPES.get(ch));
}

/** Parse the source into nested nodes; every open block keeps its offset for messages. */
function parse(source) {
  const root = { kind: 'root', children: [] };
  const stack = [root];
  const tag = /\{\{\s*([#^\/&]?)\s*([\w.]+)\s*\}\}/g;
  let last = 0;
  for (let hit = tag.exec(source); hit !== null; hit = tag.exec(source)) {
    const top = stack[stack.length - 1];
    const [whole, sigil, name] = hit;
    if (hit.index > last) {
      top.children.push({ kind: 'text', text: source.slice(last, hit.index) });
    }
    last = hit.index + whole.length;
    if (sigil === '#' || sigil === '^') {
      const kind = sigil === '#' ? 'each' : 'unless';
      const block = { kind, name, children: [], offset: hit.index };
      top.children.push(block);
      stack.push(block);
    } else if (sigil === '/') {
      if (top.name !== name) {
        throw new TemplateError(`unexpected end of block "${name}"`, source, hit.index);
      }
      stack.pop();
    } else {
      top.children.push({ kind: 'value', name, raw: sigil === '&' });
    }
  }
  if (stack.length > 1) {
    const open = stack[stack.length - 1];
    throw new TemplateError(`block "${open.name}" is never closed`, source, open.offset);
  }
  root.children.push({ kind: 'text', text: source.slice(last) });
  return root;
}

/** Find a dotted path, trying the innermost scope first. "." is the current item. */
function lookup(path, scopes) {
  if (path === '.') return scopes[scopes.length - 1];
  const [head, ...rest] = path.split('.');
  for (let i = scopes.length - 1; i >= 0; i -= 1) {
    const scope = scopes[i];
    if (scope !== null && typeof scope === 'object' && Object.hasOwn(scope, head)) {
      return rest.reduce((value, key) => value?.[key], scope[head]);
    }
  }
  return undefined;
}

const isEmpty = (value) => !value || (Array.isArray(value) && value.length === 0);

function renderNodes(nodes, scopes) {
  let out = '';
  for (const node of nodes) {
    if (node.kind === 'text') {
      out += node.text;
      continue;
    }
    const value = lookup(node.name, scopes);
    if (node.kind === 'value') {
      const text = value === undefined || value === null ? '' : String(value);
      out += node.raw ? text : escapeHtml(text);
    } else if (node.kind === 'unless') {
      if (isEmpty(value)) out += renderNodes(node.children, scopes);
    } else if (!isEmpty(value)) {
      for (const item of Array.isArray(value) ? value : [value]) {
        out += renderNodes(node.children, [...scopes, item]);
      }
    }
  }
  return out;
}

/** Compile a template once; the returned function renders it against a data object. */
function compile(source) {
  const tree = parse(source);
  return (data) => renderNodes(tree.children, [data]);
}

function main() {
  const assert = require('node:assert');
  const letter = compile(
    'Dear {{customer.name}},\n{{#orders}}- {{title}} x{{count}}: {{#tags}}[{{.}}]{{/tags}}\n' +
    '{{/orders}}{{^orders}}You have no open orders.\n{{/orders}}Regards, {{&sender}}');
  const orders = [
    { title: 'Nuts & bolts', count: 40, tags: ['metal', 'small'] },
    { title: 'Rope', count: 1, tags: [] },
  ];
  const text = letter({ customer: { name: 'Ada' }, orders, sender: 'Tools <East>' });
  console.log(text);
  assert.ok(text.includes('Nuts &amp; bolts x40: [metal][small]'));
  assert.ok(text.endsWith('Tools <East>'));
  assert.ok(letter({ orders: [] }).includes('no open orders'));
  assert.throws(() => compile('a\n{{#list}} b'), /"list" is never closed \(line 2\)/);
  assert.throws(() => compile('{{#a}}{{/b}}'), TemplateError);
}

main();
