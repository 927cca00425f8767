// Boolean search over short texts: an inverted index of bit sets and a query parser.
//
// Problem: find recipes by queries such as
//
//	(tomato OR pepper) AND NOT cheese soup
//
// where words that stand side by side mean AND. For each word the index holds a set of
// documents, kept as one large integer in which bit i stands for document i; AND, OR and NOT
// then treat 64 documents at a time. NOT binds tightest, then AND, then OR. Errors name the
// place in the query.
package main

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"unicode"
)

// Index maps words to the sets of documents that contain them.
type Index struct {
	count int
	sets  map[string]*big.Int
}

// Add stores the words of the next document.
func (x *Index) Add(text string) {
	isGap := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	for _, w := range strings.FieldsFunc(strings.ToLower(text), isGap) {
		if x.sets[w] == nil {
			x.sets[w] = new(big.Int)
		}
		x.sets[w].SetBit(x.sets[w], x.count, 1)
	}
	x.count++
}

var token = regexp.MustCompile(`[()]|[^()\s]+`)

// parser keeps its first error; after an error its results are meaningless.
type parser struct {
	*Index
	tokens []string // the rest of the query, with an empty text at its end
	err    error
}

func (p *parser) accept(text string) bool {
	found := p.tokens[0] == text
	if found && text != "" {
		p.tokens = p.tokens[1:]
	}
	return found
}

func (p *parser) fail(reason string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s at %q", reason, p.tokens[0])
	}
}

// Search returns the numbers of the matching documents in ascending order.
func (x *Index) Search(query string) (numbers []int, err error) {
	p := &parser{Index: x, tokens: append(token.FindAllString(query, -1), "")}
	found := p.or()
	if !p.accept("") {
		p.fail("unexpected text")
	}
	for i := 0; i < x.count; i++ {
		if found.Bit(i) == 1 {
			numbers = append(numbers, i)
		}
	}
	return numbers, p.err
}

// The operations write into new integers, since the sets of the index must not change.
func (p *parser) or() *big.Int {
	left := p.and()
	for p.accept("OR") {
		left = new(big.Int).Or(left, p.and())
	}
	return left
}

func (p *parser) and() *big.Int {
	left := p.not()
	for {
		next := p.tokens[0]
		if !p.accept("AND") && (p.err != nil || next == "" || next == ")" || next == "OR") {
			return left
		}
		left = new(big.Int).And(left, p.not())
	}
}

func (p *parser) not() *big.Int {
	if p.accept("NOT") {
		return new(big.Int).Not(p.not())
	}
	if p.accept("(") {
		inner := p.or()
		if !p.accept(")") {
			p.fail("missing )")
		}
		return inner
	}
	word := p.tokens[0]
	if word == "" || word == ")" || word == "OR" || word == "AND" {
		p.fail("a word is missing")
	}
	p.accept(word)
	if set := p.sets[strings.ToLower(word)]; set != nil {
		return set
	}
	return new(big.Int)
}

func main() {
	index := Index{sets: map[string]*big.Int{}}
	for _, text := range []string{
		"Tomato soup with basil", "Pepper salad, tomato and cheese", "Pea soup",
		"Cheese omelette", "Pepper soup with sour cream", "Soup of the day: tomato with cheese",
	} {
		index.Add(text)
	}
	for query, wanted := range map[string]string{
		"soup": "[0 2 4 5]", "(tomato OR pepper) AND NOT cheese soup": "[0 4]",
		"pea OR omelette OR salad": "[1 2 3]", "NOT NOT cheese": "[1 3 5]",
		"NOT (soup OR cheese)": "[]", "soup OR oyster tomato": "[0 2 4 5]",
		"(soup": `missing ) at ""`, "soup AND OR pea": `a word is missing at "OR"`,
		"soup) pea": `unexpected text at ")"`,
	} {
		found, err := index.Search(query)
		fmt.Printf("%-40s %v %v\n", query, found, err)
		if fmt.Sprint(found) != wanted && (err == nil || err.Error() != wanted) {
			panic("wanted " + wanted)
		}
	}
}
