<?php
declare(strict_types=1);

/*
 * A safe converter from a small plain-text markup to HTML.
 *
 * Problem: visitors write comments with headings, nested lists, quotations, code and emphasis.
 * Their text must never become active HTML. Lines are grouped into blocks; inline markup is
 * then handled within each block. All text is escaped exactly once, when it is written out.
 *
 *   # Heading (up to ###)      - list, nested by two blanks      > quotation
 *   four blanks: code block    *emphasis*  **strong**  `code`    [text](address)
 */

final class Markup {
    private const SAFE_SCHEMES = ['http', 'https', 'mailto'];

    public function toHtml(string $source): string {
        $source = str_replace(["\r\n", "\r", "\t"], ["\n", "\n", '    '], $source);
        return $this->blocks(explode("\n", $source));
    }

    private function blocks(array $lines): string {
        $html = '';
        for ($i = 0; $i < count($lines);) {
            $line = $lines[$i];
            if (trim($line) === '') {
                $i++;
            } elseif (preg_match('/^(#{1,3}) +(.*)$/', $line, $m)) {
                $level = strlen($m[1]);
                $html .= "<h$level>" . $this->inline($m[2]) . "</h$level>\n";
                $i++;
            } elseif (str_starts_with($line, '    ')) {
                $code = $this->take($lines, $i, fn (string $l) => str_starts_with($l, '    '), 4);
                $html .= '<pre><code>' . $this->escape(implode("\n", $code)) . "</code></pre>\n";
            } elseif (str_starts_with($line, '>')) {
                $quote = $this->take($lines, $i, fn (string $l) => str_starts_with($l, '>'), 2);
                $html .= "<blockquote>\n" . $this->blocks($quote) . "</blockquote>\n";
            } elseif (preg_match('/^- /', $line)) {
                $isItem = fn (string $l) => (bool) preg_match('/^(- |  +\S)/', $l);
                $html .= $this->bullets($this->take($lines, $i, $isItem, 0));
            } else {
                $isText = fn (string $l) => trim($l) !== '' && !preg_match('/^(#{1,3} |>|- )/', $l);
                $text = $this->take($lines, $i, $isText, 0);
                $html .= '<p>' . $this->inline(implode("\n", array_map('trim', $text))) . "</p>\n";
            }
        }
        return $html;
    }

    /** Take the lines from position $i on that satisfy the condition; $i moves behind them. */
    private function take(array $lines, int &$i, callable $condition, int $cut): array {
        $taken = [];
        do { // the first line was recognised by the caller
            $taken[] = (string) substr($lines[$i++], $cut);
        } while ($i < count($lines) && $condition($lines[$i]));
        return $taken;
    }

    private function bullets(array $lines): string {
        $html = "<ul>\n";
        for ($i = 0; $i < count($lines);) {
            $text = substr($lines[$i++], 2);
            $nested = [];
            while ($i < count($lines) && str_starts_with($lines[$i], '  ')) {
                $inner = substr($lines[$i++], 2);
                if ($nested === [] && !str_starts_with($inner, '- ')) {
                    $text .= "\n" . trim($inner);
                } else {
                    $nested[] = $inner;
                }
            }
            $sub = $nested === [] ? '' : "\n" . $this->bullets($nested);
            $html .= '<li>' . $this->inline($text) . $sub . "</li>\n";
        }
        return $html . "</ul>\n";
    }

    /** Inline markup; the first alternative that matches at a place wins. */
    private function inline(string $text): string {
        $pattern = '/`(?<code>[^`]+)`'
            . '|\*\*(?<bold>(?=\S).+?(?<=\S))\*\*'
            . '|\*(?<em>(?=\S)[^*]+?(?<=\S))\*'
            . '|\[(?<label>[^\]]+)\]\((?<address>[^\s()]+)\)/s';
        $html = '';
        $done = 0;
        $flags = PREG_SET_ORDER | PREG_OFFSET_CAPTURE | PREG_UNMATCHED_AS_NULL;
        preg_match_all($pattern, $text, $matches, $flags);
        foreach ($matches as $m) {
            [$whole, $offset] = $m[0];
            $html .= $this->escape(substr($text, $done, $offset - $done));
            $html .= match (true) {
                $m['code'][0] !== null => '<code>' . $this->escape($m['code'][0]) . '</code>',
                $m['bold'][0] !== null => '<b>' . $this->inline($m['bold'][0]) . '</b>',
                $m['em'][0] !== null => '<em>' . $this->inline($m['em'][0]) . '</em>',
                default => $this->link($m['label'][0], $m['address'][0], $whole),
            };
            $done = $offset + strlen($whole);
        }
        return $html . $this->escape(substr($text, $done));
    }

    /** Unsafe addresses are shown as written. */
    private function link(string $label, string $address, string $whole): string {
        $scheme = preg_match('/^([^\/?#]*?):/', $address, $m) ? strtolower($m[1]) : null;
        if ($scheme !== null && !in_array($scheme, self::SAFE_SCHEMES, true)) {
            return $this->escape($whole);
        }
        return '<a href="' . $this->escape($address) . '">' . $this->escape($label) . '</a>';
    }

    private function escape(string $text): string {
        return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
    }
}

$html = (new Markup())->toHtml(
    "# Bread & *more*\nMix **flour *and* water**,\nthen `a < b`.\n\n"
    . "- knead\n  well\n  - by hand\n- bake\n\n"
    . "> It <b>rose</b>.\n> - twice\n\n    if (x) {\n        y();\n\n"
    . "[Mill](https://mill.example/?a=1&b=2) [bad](javascript:alert) 2 * 3 * 4"
);
echo $html;
$wanted = ['<h1>Bread &amp; <em>more</em></h1>', '<b>flour <em>and</em> water</b>',
    "<li>knead\nwell\n<ul>\n<li>by hand</li>", '<code>a &lt; b</code>',
    '<p>It &lt;b&gt;rose&lt;/b&gt;.</p>',
    "if (x) {\n    y();</code>", 'a=1&amp;b=2">Mill</a>', '[bad](javascript:alert) 2 * 3 * 4'];
foreach ($wanted as $part) {
    str_contains($html, $part) || throw new LogicException("missing: $part");
}
