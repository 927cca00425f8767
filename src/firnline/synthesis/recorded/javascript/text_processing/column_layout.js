'use strict';
/*
 * Lay out records as a text table that fits a given width.
 *
 * Problem: a terminal is 72 columns wide, but one field holds a long note. Cutting every
 * column to the same share wastes room on short ids. The layout used here gives narrow
 * columns exactly what they need and divides what remains among the wide ones ("water
 * filling"): repeatedly satisfy every column whose need is at most an equal share, and
 * split the rest. Wide cells are then wrapped over several lines.
 */
const assert = require('node:assert');

/** Share `total` characters among columns that would like to have `needs[i]` each. */
function shareWidth(needs, total) {
  if (total < needs.length) {
    throw new RangeError(`${total} characters cannot hold ${needs.length} columns`);
  }
  const widths = new Array(needs.length).fill(0);
  let open = needs.map((_, i) => i);
  let left = total;
  while (open.length > 0) {
    const share = Math.floor(left / open.length);
    const satisfied = open.filter((i) => needs[i] <= share);
    if (satisfied.length === 0) {
      // Everyone wants more than the share: spread the remainder from the left.
      let extra = left - share * open.length;
      for (const i of open) {
        widths[i] = share + (extra > 0 ? 1 : 0);
        extra -= 1;
      }
      break;
    }
    for (const i of satisfied) {
      widths[i] = needs[i];
      left -= needs[i];
    }
    open = open.filter((i) => needs[i] > share);
  }
  return widths;
}

/** Break text into lines of at most `width`; a word longer than a line is split. */
function wrap(text, width) {
  const lines = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (let word of paragraph.split(/\s+/).filter(Boolean)) {
      if (line !== '' && line.length + 1 + word.length <= width) {
        line += ` ${word}`;
        continue;
      }
      if (line !== '') lines.push(line);
      while (word.length > width) {
        lines.push(word.slice(0, width));
        word = word.slice(width);
      }
      line = word;
    }
    lines.push(line);
  }
  return lines;
}

const longestLine = (text) => Math.max(...text.split('\n').map((line) => line.length));
const isNumeric = (text) => /^-?[\d,]*\.?\d+%?$/.test(text);

/**
 * Render rows as a table no wider than `width`.
 * @param {string[]} header
 * @param {Array<Array<string|number>>} rows
 */
function layoutTable(header, rows, width, gap = '  ') {
  const cells = rows.map((row, index) => {
    if (row.length !== header.length) {
      throw new TypeError(`row ${index} has ${row.length} cells, not ${header.length}`);
    }
    return row.map((cell) => String(cell ?? ''));
  });
  const columns = header.map((title, c) => [title, ...cells.map((row) => row[c])]);
  const needs = columns.map((texts) => Math.max(1, ...texts.map(longestLine)));
  const widths = shareWidth(needs, width - gap.length * (header.length - 1));
  const right = columns.map((texts) => texts.length > 1 && texts.slice(1).every(isNumeric));

  const renderRow = (row) => {
    const wrapped = row.map((text, c) => wrap(text, widths[c]));
    const height = Math.max(...wrapped.map((lines) => lines.length));
    const out = [];
    for (let y = 0; y < height; y += 1) {
      const parts = wrapped.map((lines, c) => {
        const text = lines[y] ?? '';
        return right[c] ? text.padStart(widths[c]) : text.padEnd(widths[c]);
      });
      out.push(parts.join(gap).trimEnd());
    }
    return out;
  };

  const rule = widths.map((w) => '-'.repeat(w)).join(gap);
  return [...renderRow(header), rule, ...cells.flatMap(renderRow)].join('\n');
}

function main() {
  assert.deepStrictEqual(shareWidth([3, 50, 5, 40], 60), [3, 26, 5, 26]);
  assert.deepStrictEqual(shareWidth([2, 2], 30), [2, 2], 'nobody gets more than needed');
  assert.deepStrictEqual(wrap('incomprehensible word', 7), ['incompr', 'ehensib', 'le word']);
  assert.throws(() => shareWidth([1, 1, 1], 2), RangeError);
  assert.throws(() => layoutTable(['a', 'b'], [['only one']], 40), /row 0 has 1 cells/);

  const table = layoutTable(['part', 'stock', 'note'], [
    ['M4 bolt', 1200, 'Packed by the hundred; count the boxes, not the bolts.'],
    ['Hinge', 35, 'Left-handed only.\nThe right-handed ones are discontinued.'],
    ['Glue', 7, null],
  ], 44);
  console.log(table);
  const lines = table.split('\n');
  assert.ok(lines.every((line) => line.length <= 44));
  assert.ok(lines[2].startsWith('M4 bolt   1200  Packed'), 'numbers are right-aligned');
}

main();
