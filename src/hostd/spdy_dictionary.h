// SPDX-License-Identifier: Apache-2.0
// The text that primes the header compression of SPDY/3 and SPDY/3.1: a constant of the protocol (SPDY/3, section
// 2.6.10.1). First words with their 32-bit lengths, as they stand in header blocks, then plain text.
#ifndef BH_HOSTD_SPDY_DICTIONARY_H
#define BH_HOSTD_SPDY_DICTIONARY_H

static const unsigned char spdy_dictionary[1423 + 1] =
	"\0\0\0\7" "options" "\0\0\0\4" "head" "\0\0\0\4" "post" "\0\0\0\3" "put" "\0\0\0\6" "delete"
	"\0\0\0\5" "trace" "\0\0\0\6" "accept" "\0\0\0\16" "accept-charset" "\0\0\0\17" "accept-encoding"
	"\0\0\0\17" "accept-language" "\0\0\0\15" "accept-ranges" "\0\0\0\3" "age" "\0\0\0\5" "allow"
	"\0\0\0\15" "authorization" "\0\0\0\15" "cache-control" "\0\0\0\12" "connection" "\0\0\0\14" "content-base"
	"\0\0\0\20" "content-encoding" "\0\0\0\20" "content-language" "\0\0\0\16" "content-length"
	"\0\0\0\20" "content-location" "\0\0\0\13" "content-md5" "\0\0\0\15" "content-range"
	"\0\0\0\14" "content-type" "\0\0\0\4" "date" "\0\0\0\4" "etag" "\0\0\0\6" "expect" "\0\0\0\7" "expires"
	"\0\0\0\4" "from" "\0\0\0\4" "host" "\0\0\0\10" "if-match" "\0\0\0\21" "if-modified-since"
	"\0\0\0\15" "if-none-match" "\0\0\0\10" "if-range" "\0\0\0\23" "if-unmodified-since"
	"\0\0\0\15" "last-modified" "\0\0\0\10" "location" "\0\0\0\14" "max-forwards" "\0\0\0\6" "pragma"
	"\0\0\0\22" "proxy-authenticate" "\0\0\0\23" "proxy-authorization" "\0\0\0\5" "range" "\0\0\0\7" "referer"
	"\0\0\0\13" "retry-after" "\0\0\0\6" "server" "\0\0\0\2" "te" "\0\0\0\7" "trailer"
	"\0\0\0\21" "transfer-encoding" "\0\0\0\7" "upgrade" "\0\0\0\12" "user-agent" "\0\0\0\4" "vary"
	"\0\0\0\3" "via" "\0\0\0\7" "warning" "\0\0\0\20" "www-authenticate" "\0\0\0\6" "method" "\0\0\0\3" "get"
	"\0\0\0\6" "status" "\0\0\0\6" "200 OK" "\0\0\0\7" "version" "\0\0\0\10" "HTTP/1.1" "\0\0\0\3" "url"
	"\0\0\0\6" "public" "\0\0\0\12" "set-cookie" "\0\0\0\12" "keep-alive" "\0\0\0\6" "origin"
	"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Au"
	"thoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidd"
	"en404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr Ma"
	"y Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,imag"
	"e/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicpri"
	"vatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

#endif
