"""HTTP/2 as the mesh has it: h2 with our limits from the first stream on, and headers as text."""

from __future__ import annotations

from typing import Any, Dict

import h2.config
import h2.connection
import h2.events
import h2.settings

#: How much one stream may send ahead of its reader, and how much all of them together.
STREAM_WINDOW_BYTES = 16 * 1024 * 1024
WINDOW_BYTES = 64 * 1024 * 1024
MAX_H2_FRAME_BYTES = 1024 * 1024
MAX_STREAMS = 1000
MAX_HEADER_BYTES = 64 * 1024


class Http2(h2.connection.H2Connection):
    """h2 forbids everything after a GOAWAY; RFC 9113 6.8 lets the open streams finish, which a drain depends on."""

    def __init__(self, client: bool) -> None:
        super().__init__(h2.config.H2Configuration(client_side=client, header_encoding=False))

    def begin(self) -> None:
        """The preface and SETTINGS."""
        codes = h2.settings.SettingCodes
        values: Dict[Any, int] = {
            codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            codes.MAX_FRAME_SIZE: MAX_H2_FRAME_BYTES,
            codes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            codes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
        }
        if self.config.client_side:
            values[codes.ENABLE_PUSH] = 0
        # Set before the preface, so that they hold from the first stream on and not only after their acknowledgement.
        self.local_settings = h2.settings.Settings(client=self.config.client_side, initial_values=values)
        self.max_inbound_frame_size = MAX_H2_FRAME_BYTES
        self.initiate_connection()
        self.increment_flow_control_window(WINDOW_BYTES - 65535)

    def _receive_goaway_frame(self, frame: Any) -> Any:
        if frame.error_code != 0:
            return super()._receive_goaway_frame(frame)
        event = h2.events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        return [], [event]


def name_of(code: Any) -> Any:
    """The name of an error code, or the number of one that has none."""
    return getattr(code, "name", code)


def text_headers(headers: Any) -> Dict[str, str]:
    """Header values are UTF-8 or, as HTTP once had it, Latin-1; several of one name are joined."""
    result: Dict[str, str] = {}
    for raw_key, raw_value in headers:
        key = raw_key.decode("latin-1")
        try:
            value = raw_value.decode("utf-8")
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        result[key] = f"{result[key]}, {value}" if key in result else value
    return result
