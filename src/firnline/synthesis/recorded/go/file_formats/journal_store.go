// A small key-value store on an append-only journal that survives torn writes.
//
// Problem: settings must not be lost when the power fails in the middle of a write. Records
// are only ever appended, each with its length and a checksum. On opening, the journal is
// replayed into a map; a damaged record at the END is the trace of an interrupted write and is
// cut off, whereas damage in the middle is reported. When most records are outdated, the
// journal is rewritten under another name and renamed, which either happens or does not.
//
// Record: checksum (4 bytes), key length (4), value length (4), key, value.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

const headSize = 12

// ErrDamaged reports a bad record in front of a good one.
var ErrDamaged = errors.New("journal is damaged")

// Store holds all live values in memory and all changes in a file.
type Store struct {
	path    string
	file    *os.File
	values  map[string]string
	records int // in the journal, outdated ones included
}

func encode(key, value string) []byte {
	record := make([]byte, headSize, headSize+len(key)+len(value))
	binary.LittleEndian.PutUint32(record[4:], uint32(len(key)))
	binary.LittleEndian.PutUint32(record[8:], uint32(len(value)))
	record = append(append(record, key...), value...)
	binary.LittleEndian.PutUint32(record, crc32.ChecksumIEEE(record[4:]))
	return record
}

// decode reads one record; size is 0 if the data holds no complete, correct record.
func decode(data []byte) (key, value string, size int) {
	if len(data) < headSize {
		return
	}
	keyLength := uint64(binary.LittleEndian.Uint32(data[4:]))
	valueLength := uint64(binary.LittleEndian.Uint32(data[8:]))
	end := headSize + keyLength + valueLength
	if end > uint64(len(data)) || crc32.ChecksumIEEE(data[4:end]) != binary.LittleEndian.Uint32(data) {
		return "", "", 0
	}
	body := string(data[headSize:end])
	return body[:keyLength], body[keyLength:], int(end)
}

// Open replays a journal, which is created if it does not exist.
func Open(path string) (*Store, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	s, good := &Store{path: path, values: map[string]string{}}, 0
	for key, value, size := decode(data); size > 0; key, value, size = decode(data[good:]) {
		s.values[key] = value
		s.records++
		good += size
	}
	// After an interrupted write no later record can be intact.
	for at := good + 1; at < len(data); at++ {
		if _, _, size := decode(data[at:]); size > 0 {
			return nil, fmt.Errorf("%w: at byte %d", ErrDamaged, good)
		}
	}
	s.file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		err = s.file.Truncate(int64(good))
	}
	return s, err
}

// Set stores a value durably before it returns.
func (s *Store) Set(key, value string) error {
	_, err := s.file.Write(encode(key, value))
	if err == nil {
		s.records++
		s.values[key] = value
		err = s.file.Sync()
	}
	return err
}

// Compact drops outdated records.
func (s *Store) Compact() error {
	var all []byte
	for key, value := range s.values {
		all = append(all, encode(key, value)...)
	}
	err := os.WriteFile(s.path+".new", all, 0o600)
	if err == nil {
		s.file.Close()
		err = os.Rename(s.path+".new", s.path)
	}
	if err == nil {
		s.records = len(s.values)
		s.file, err = os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0o600)
	}
	return err
}

func must(ok bool, what string) {
	if fmt.Println(what, ok); !ok {
		os.Exit(1)
	}
}

func main() {
	folder, _ := os.MkdirTemp("", "journal")
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "store")
	s, _ := Open(path)
	for i := 0; i < 250; i++ {
		_ = s.Set(fmt.Sprintf("key%d", i%7), fmt.Sprint(i))
	}
	must(s.Compact() == nil && s.records == 7, "outdated records are dropped")
	s.file.Close()

	data, _ := os.ReadFile(path)
	_ = os.WriteFile(path, append(data, encode("key0", "torn write")[:15]...), 0o600)
	s, err := Open(path)
	must(err == nil && s.values["key0"] == "245", "torn record is ignored")
	must(s.Set("key0", "new") == nil && s.file.Close() == nil, "writing goes on")
	s, _ = Open(path)
	must(s.values["key0"] == "new" && s.file.Close() == nil, "the new record can be read")
	data[headSize] ^= 1 // damage in the middle
	_ = os.WriteFile(path, data, 0o600)
	_, err = Open(path)
	must(errors.Is(err, ErrDamaged), fmt.Sprint(err))
}
